//! The lint that instructions are all in capitals or all in small letters.

use super::Lowerer;
use crate::lint::Rule;

impl Lowerer<'_> {
    pub(super) fn casing(&mut self) {
        let first =
            self.file.instructions.iter().position(|instruction| matches!(instruction.kind, crate::instruction::Kind::From(_)));
        let instructions = &self.file.instructions[first.unwrap_or(self.file.instructions.len())..];
        let is_lower = |name: &str| name == name.to_lowercase();
        let is_upper = |name: &str| name == name.to_uppercase();
        let names = || instructions.iter().map(|instruction| instruction.keyword.text.as_str());
        let majority_lower = names().filter(|name| is_lower(name)).count() > names().filter(|name| is_upper(name)).count();
        for instruction in instructions {
            let name = &instruction.keyword.text;
            let (fits, wanted) = if majority_lower { (is_lower(name), "lowercase") } else { (is_upper(name), "uppercase") };
            if !fits {
                let message = format!("Command '{name}' should match the case of the command majority ({wanted})");
                let span = &instruction.keyword.span;
                self.findings.report(Rule::ConsistentInstructionCasing, span, &instruction.comments, message);
            }
        }
    }
}
