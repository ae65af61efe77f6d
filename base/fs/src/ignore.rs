//! `.dockerignore` patterns, a port of moby/patternmatcher's rules (spec §1.6).
#![allow(missing_docs, clippy::todo, unused_variables, reason = "seam")]
use std::path::Path;
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    #[error("illegal exclusion pattern: \"!\"")]
    LoneNegation,
    #[error("bad pattern `{0}`")]
    Bad(String),
}
/// One pattern and the line (from 1) that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub number: u32,
    pub pattern: String,
}
/// Reads an ignore file's text (spec §1.6 point 2).
pub fn read_lines(text: &str) -> Vec<Line> {
    todo!()
}
#[derive(Clone, Debug)]
pub struct Matcher {
    _inner: (),
}
#[derive(Clone, Debug)]
/// State of a directory on the way down (MatchesUsingParentResults).
pub struct ParentMatch {
    _inner: (),
}
impl Matcher {
    pub fn new(lines: &[Line]) -> Result<Matcher, PatternError> {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    pub fn has_negations(&self) -> bool {
        todo!()
    }
    /// Whether `path` (relative, clean) is matched, and by which pattern's index the decision fell.
    pub fn matches(&self, path: &Path, parent: Option<&ParentMatch>) -> (bool, Option<usize>, ParentMatch) {
        todo!()
    }
    /// Whether something below an excluded directory could be re-included.
    pub fn may_reinclude_below(&self, directory: &Path) -> bool {
        todo!()
    }
}
