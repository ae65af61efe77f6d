//! Lint rules and which of them are wanted (spec §1.7).

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostic;
use crate::parse::check_comment;
use crate::source::Span;

/// A rule by BuildKit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JsonArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

impl Rule {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Rule::StageNameCasing => "StageNameCasing",
            Rule::FromAsCasing => "FromAsCasing",
            Rule::NoEmptyContinuation => "NoEmptyContinuation",
            Rule::ConsistentInstructionCasing => "ConsistentInstructionCasing",
            Rule::DuplicateStageName => "DuplicateStageName",
            Rule::ReservedStageName => "ReservedStageName",
            Rule::JsonArgsRecommended => "JSONArgsRecommended",
            Rule::MaintainerDeprecated => "MaintainerDeprecated",
            Rule::UndefinedArgInFrom => "UndefinedArgInFrom",
            Rule::WorkdirRelativePath => "WorkdirRelativePath",
            Rule::UndefinedVar => "UndefinedVar",
            Rule::MultipleInstructionsDisallowed => "MultipleInstructionsDisallowed",
            Rule::LegacyKeyValueFormat => "LegacyKeyValueFormat",
            Rule::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
            Rule::RedundantTargetPlatform => "RedundantTargetPlatform",
            Rule::SecretsUsedInArgOrEnv => "SecretsUsedInArgOrEnv",
            Rule::InvalidDefaultArgInFrom => "InvalidDefaultArgInFrom",
            Rule::FromPlatformFlagConstDisallowed => "FromPlatformFlagConstDisallowed",
            Rule::InvalidDefinitionDescription => "InvalidDefinitionDescription",
            Rule::ExposeProtoCasing => "ExposeProtoCasing",
            Rule::ExposeInvalidFormat => "ExposeInvalidFormat",
        }
    }

    fn is_experimental(self) -> bool {
        self == Rule::InvalidDefinitionDescription
    }
}

/// Some rules, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rules {
    All,
    Named(BTreeSet<String>),
}

impl Rules {
    fn read(value: &str) -> Rules {
        match value.trim() {
            "all" => Rules::All,
            names => Rules::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn has(&self, rule: Rule) -> bool {
        match self {
            Rules::All => true,
            Rules::Named(names) => names.contains(rule.name()),
        }
    }
}

/// Value of a `check` directive: `skip=A,B;error=true;experimental=all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    skip: Rules,
    experimental: Rules,
    /// Whether a finding fails the build.
    pub(crate) error: bool,
}

impl Default for Check {
    fn default() -> Check {
        Check { skip: Rules::Named(BTreeSet::new()), experimental: Rules::Named(BTreeSet::new()), error: false }
    }
}

impl Check {
    pub(crate) fn read(text: &str) -> Result<Check, String> {
        let mut check = Check::default();
        if text.trim().is_empty() {
            return Ok(check);
        }
        for part in text.trim().splitn(3, ';') {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("invalid check option \"{part}\""))?;
            match key.trim() {
                "skip" => check.skip = Rules::read(value),
                "experimental" => check.experimental = Rules::read(value),
                "error" => {
                    check.error = read_bool(value.trim()).ok_or_else(|| format!("failed to parse check option \"{part}\""))?
                }
                other => return Err(format!("invalid check option \"{other}\"")),
            }
        }
        Ok(check)
    }

    fn wants(&self, rule: Rule) -> bool {
        if rule.is_experimental() { self.experimental.has(rule) } else { !self.skip.has(rule) }
    }
}

/// Truth as Go reads it.
pub(crate) fn read_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What the rules found; a comment above the instruction has been asked already, the file's own options not yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

#[derive(Clone, Debug)]
struct Finding {
    rule: Rule,
    wanted_here: bool,
    diagnostic: Diagnostic,
}

impl Findings {
    /// Reports a finding on an instruction that has these comments above it.
    pub(crate) fn report(&mut self, rule: Rule, span: &Span, comments: &[String], message: String) {
        let here = comments.iter().find_map(|comment| check_comment(comment)).and_then(|text| Check::read(&text).ok());
        let wanted_here = here.as_ref().is_some_and(|check| rule.is_experimental() && check.wants(rule));
        if here.is_some_and(|check| check.skip.has(rule)) {
            return;
        }
        self.0.push(Finding { rule, wanted_here, diagnostic: Diagnostic::warning(rule.name(), message, span.clone()) });
    }

    /// The findings that are wanted, in the file's order, each once.
    pub(crate) fn wanted(self, check: &Check) -> Vec<Diagnostic> {
        let wanted = self.0.into_iter().filter(|finding| finding.wanted_here || check.wants(finding.rule));
        let mut diagnostics: Vec<Diagnostic> = wanted.map(|finding| finding.diagnostic).collect();
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.start));
        diagnostics.dedup();
        diagnostics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_choose_rules() {
        let check = Check::read("skip=StageNameCasing, UndefinedVar;error=true").unwrap();
        assert!(check.error && !check.wants(Rule::UndefinedVar) && check.wants(Rule::FromAsCasing));
        assert!(!Check::read("skip=all").unwrap().wants(Rule::FromAsCasing));
        assert!(!Check::default().wants(Rule::InvalidDefinitionDescription));
        assert!(Check::read("experimental=all").unwrap().wants(Rule::InvalidDefinitionDescription));
        for bad in ["skip", "nothing=1", "error=maybe"] {
            assert!(Check::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn comments_skip_for_one_instruction() {
        let mut findings = Findings::default();
        findings.report(Rule::UndefinedVar, &(5..6), &["check=skip=UndefinedVar".into()], "a".into());
        findings.report(Rule::UndefinedVar, &(7..8), &["a comment".into()], "b".into());
        findings.report(Rule::InvalidDefinitionDescription, &(1..2), &["check=experimental=all".into()], "c".into());
        findings.report(Rule::InvalidDefinitionDescription, &(3..4), &[], "d".into());
        let messages: Vec<String> = findings.wanted(&Check::default()).into_iter().map(|d| d.message).collect();
        assert_eq!(messages, ["c", "b"]);
    }
}
