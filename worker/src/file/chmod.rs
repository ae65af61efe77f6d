//! Modes given by `--chmod`: octal, or symbolic (`u=rwX,go=rX`).

use rbuild_fs::Kind;
use rbuild_graph::Chmod;

use crate::WorkError;

const SYNTAX: &str = "it should be octal string and between 0 and 07777, or symbolic like u=rwX,go=rX";

/// How modes change, ready to be applied to many files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    Keep,
    Set(u32),
    Clauses(Vec<Clause>),
}

/// `ugo` `+-=` `rwxXst`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Bits that the `ugoa` part covers, special bits included.
    who: u32,
    operator: Operator,
    /// `rwx` and special bits, for all classes.
    bits: u32,
    /// `X`: execution for directories, and where somebody has it.
    conditional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Assign,
}

impl ModeChange {
    pub(crate) fn new(chmod: Option<&Chmod>) -> Result<ModeChange, WorkError> {
        match chmod {
            None => Ok(ModeChange::Keep),
            Some(Chmod::Octal(mode)) if *mode <= 0o7777 => Ok(ModeChange::Set(*mode)),
            Some(Chmod::Octal(mode)) => Err(WorkError::BadMode { mode: format!("{mode:o}"), reason: SYNTAX }),
            Some(Chmod::Symbolic(text)) => {
                let clauses: Option<Vec<Vec<Clause>>> = text.split(',').map(parse).collect();
                clauses
                    .map(|clauses| ModeChange::Clauses(clauses.concat()))
                    .ok_or_else(|| WorkError::BadMode { mode: text.clone(), reason: SYNTAX })
            }
        }
    }

    /// The mode of a copied file or directory.
    pub(crate) fn apply(&self, mode: u32, kind: Kind) -> u32 {
        match self {
            ModeChange::Keep => mode,
            ModeChange::Set(set) => *set,
            ModeChange::Clauses(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, kind == Kind::Dir)),
        }
    }

    /// The mode of directories that are made on the way: the octal one, else 0755.
    pub(crate) fn of_parents(&self) -> u32 {
        match self {
            ModeChange::Set(set) => *set,
            ModeChange::Keep | ModeChange::Clauses(_) => 0o755,
        }
    }
}

impl Clause {
    fn apply(self, mode: u32, directory: bool) -> u32 {
        let executable = directory || mode & 0o111 != 0;
        let bits = (self.bits | if self.conditional && executable { 0o111 } else { 0 }) & self.who;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            // What nobody names stays: the sticky bit belongs to `a`, setuid to `u`, setgid to `g`.
            Operator::Assign => (mode & !self.who) | bits,
        }
    }
}

fn parse(text: &str) -> Option<Vec<Clause>> {
    let operators = text.find(['+', '-', '='])?;
    let (who, mut rest) = text.split_at(operators);
    let mut covered = if who.is_empty() { 0o7777 } else { 0 };
    for class in who.chars() {
        covered |= match class {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o0007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let mut clauses = Vec::new();
    while let Some(sign) = rest.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Assign,
            _ => return None,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        let mut clause = Clause { who: covered, operator, bits: 0, conditional: false };
        for permission in rest[1..end].chars() {
            match permission {
                'r' => clause.bits |= 0o444,
                'w' => clause.bits |= 0o222,
                'x' => clause.bits |= 0o111,
                'X' => clause.conditional = true,
                's' => clause.bits |= 0o6000,
                't' => {
                    clause.bits |= 0o1000;
                    clause.who |= 0o1000;
                }
                _ => return None,
            }
        }
        clauses.push(clause);
        rest = &rest[end..];
    }
    Some(clauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes() {
        let check = |text: &str, mode: u32, kind: Kind, expected: u32| {
            let change = ModeChange::new(Some(&Chmod::Symbolic(text.to_owned()))).unwrap();
            assert_eq!(change.apply(mode, kind), expected, "{text} of {mode:o}");
        };
        check("u=rwX,go=rX", 0o600, Kind::File, 0o644);
        check("u=rwX,go=rX", 0o700, Kind::File, 0o755);
        check("u=rwX,go=rX", 0o700, Kind::Dir, 0o755);
        check("a+x", 0o644, Kind::File, 0o755);
        check("+x", 0o644, Kind::File, 0o755);
        check("go-rwx", 0o777, Kind::File, 0o700);
        check("u+s", 0o755, Kind::File, 0o4755);
        check("g+s", 0o755, Kind::File, 0o2755);
        check("+t", 0o755, Kind::Dir, 0o1755);
        check("u-s+x", 0o4644, Kind::File, 0o744);
        check("o=", 0o777, Kind::File, 0o770);
    }

    #[test]
    fn bad_modes() {
        for text in ["64a", "u", "z+x", "u=q", "", "u=r,,"] {
            assert!(ModeChange::new(Some(&Chmod::Symbolic(text.to_owned()))).is_err(), "{text}");
        }
        assert!(ModeChange::new(Some(&Chmod::Octal(0o10000))).is_err());
    }
}
