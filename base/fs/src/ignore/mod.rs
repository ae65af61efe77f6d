//! `.dockerignore` patterns by the rules of moby/patternmatcher (spec §1.6), quirks included.
//!
//! Patterns are anchored at the root and tried in order; the last one that matches decides, `!` re-includes. A directory's matches are
//! inherited by what is below it, per pattern ("MatchesUsingParentResults"): whoever walks hands each directory's [`ParentMatch`] on.

mod go_regexp;
mod pattern;

use std::path::Path;

use crate::glob;
use pattern::Rule;

/// A pattern that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// `!` with nothing after it.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneNegation,
    /// Not well-formed.
    #[error("bad pattern `{0}`")]
    Bad(String),
}

/// One pattern and the line (from 1) that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Line number.
    pub number: u32,
    /// The pattern, cleaned, with its `!`.
    pub pattern: String,
}

/// Reads an ignore file's text: a byte order mark, comments (`#` in the first column only) and empty lines are dropped, white space
/// around patterns goes, paths are cleaned and lose a leading slash.
pub fn read_lines(text: &str) -> Vec<Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').zip(1..).filter(|(line, _)| !line.starts_with('#'));
    lines.filter_map(|(line, number)| Some(Line { number, pattern: read_pattern(line.trim())? })).collect()
}

fn read_pattern(line: &str) -> Option<String> {
    let (negation, rest) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    let path = if rest.is_empty() { String::new() } else { clean(rest) };
    let path = if path.len() > 1 { path.strip_prefix('/').unwrap_or(&path) } else { &path };
    let pattern = format!("{negation}{path}");
    (!pattern.is_empty()).then_some(pattern)
}

/// Go's `path.Clean`: no `.`, no doubled or trailing slash, `..` taken lexically; empty is `.`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => (),
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => (),
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// Patterns, ready to be asked. Matching takes time linear in the path's length for each pattern.
#[derive(Clone, Debug)]
pub struct Matcher {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// Position of its line among those given.
    index: usize,
    negation: bool,
    rule: Rule,
}

/// Which patterns matched a directory: what its entries inherit.
#[derive(Clone, Debug)]
pub struct ParentMatch {
    matched: Vec<bool>,
}

impl Matcher {
    /// Compiles patterns, those of COPY's `--exclude` too (they need not be cleaned). Empty ones are left out.
    pub fn new(lines: &[Line]) -> Result<Matcher, PatternError> {
        let patterns = lines.iter().enumerate().filter_map(|(index, line)| Pattern::new(index, &line.pattern).transpose());
        Ok(Matcher { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether anything is re-included by `!`. If not, nothing below a matched directory needs to be looked at.
    pub fn has_negations(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.negation)
    }

    /// Whether `path` (relative, clean) is matched; the position (among the lines given to `new`) of the pattern that decided, if
    /// any did; and what a directory hands on to its entries. `parent` is what the path's directory handed on; without it
    /// the path's parents are tried one by one, which comes to the same but for moby's quirk that a negation is then not tried
    /// against a parent that was not matched when its turn came.
    pub fn matches(&self, path: &Path, parent: Option<&ParentMatch>) -> (bool, Option<usize>, ParentMatch) {
        let path = pattern::Subject::new(path);
        let mut state = ParentMatch { matched: vec![false; self.patterns.len()] };
        let (mut matched, mut decided) = (false, None);
        for (position, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.is_some_and(|parent| parent.matched.get(position).copied().unwrap_or(false));
            // A negation can only change what is matched so far, and the others what is not.
            if !inherited && (pattern.negation != matched || !pattern.applies(&path, parent.is_none())) {
                continue;
            }
            state.matched[position] = true;
            matched = !pattern.negation;
            decided = Some(pattern.index);
        }
        (matched, decided, state)
    }

    /// Whether a negation could re-include something below a matched directory (relative, clean), judged by the path alone.
    /// A negation that begins with `**` could be anywhere.
    pub fn may_reinclude_below(&self, directory: &Path) -> bool {
        let directory = pattern::Subject::new(directory);
        self.patterns.iter().any(|pattern| pattern.negation && pattern.rule.may_match_below(&directory))
    }
}

impl Pattern {
    fn new(index: usize, written: &str) -> Result<Option<Pattern>, PatternError> {
        let trimmed = written.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let cleaned = clean(trimmed);
        let (negation, path) = match cleaned.strip_prefix('!') {
            Some("") => return Err(PatternError::LoneNegation),
            Some(rest) => (true, rest),
            None => (false, &*cleaned),
        };
        let bad = || PatternError::Bad(path.to_owned());
        // What Go's filepath.Match refuses is refused before the pattern's own rules are asked.
        glob::check(path).map_err(|_syntax| bad())?;
        let rule = Rule::compile(path).ok_or_else(bad)?;
        Ok(Some(Pattern { index, negation, rule }))
    }

    fn applies(&self, path: &pattern::Subject<'_>, or_parents: bool) -> bool {
        self.rule.matches(path) || or_parents && path.parents().any(|parent| self.rule.matches(&parent))
    }
}

#[cfg(test)]
mod tests;
