//! What one ignore pattern matches: the four kinds that moby tells apart, whose fast paths differ from their regular expressions.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use regex::bytes::{Regex, RegexBuilder};

use super::go_regexp;
use crate::glob;

/// Largest compiled pattern, in bytes of the regular expression's automaton.
const MAX_COMPILED: usize = 1 << 20;

/// How a pattern is tested.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Nothing special in it: the path itself.
    Exact(String),
    /// `**` at the end and nothing else special: whatever begins so (`foo/**` not `foo`, but `foo**` also `foobar`).
    Prefix(String),
    /// `**` at the start and nothing else special: whatever ends so; and where a slash follows, the rest itself.
    Suffix(String),
    /// The rest.
    Regexp { pattern: String, regexp: Regex },
}

/// A path to be tested.
pub(super) struct Subject<'a> {
    bytes: Cow<'a, [u8]>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(path: &'a Path) -> Subject<'a> {
        Subject { bytes: Cow::Borrowed(path.as_os_str().as_bytes()) }
    }

    /// The directories above, from the outermost.
    pub(super) fn parents(&self) -> impl Iterator<Item = Subject<'_>> {
        let slashes = self.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| Subject { bytes: Cow::Borrowed(&self.bytes[..at]) })
    }

    /// Go's regular expressions see each byte that is no UTF-8 as one U+FFFD.
    fn characters(&self) -> Cow<'_, [u8]> {
        if std::str::from_utf8(&self.bytes).is_ok() {
            return Cow::Borrowed(&self.bytes);
        }
        let mut text = String::new();
        for chunk in self.bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        Cow::Owned(text.into_bytes())
    }

    fn with_slash(&self) -> Vec<u8> {
        if self.bytes.is_empty() { Vec::new() } else { [&*self.bytes, b"/"].concat() }
    }
}

/// What a pattern has been found to be, so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Regexp,
}

impl Rule {
    /// `None` for a pattern whose regular expression Go would refuse.
    pub(super) fn compile(pattern: &str) -> Option<Rule> {
        let (shape, expression) = translate(pattern);
        Some(match shape {
            Shape::Exact => Rule::Exact(pattern.to_owned()),
            Shape::Prefix => Rule::Prefix(pattern[..pattern.len() - 2].to_owned()),
            Shape::Suffix => Rule::Suffix(pattern[2..].to_owned()),
            Shape::Regexp => {
                let expression = go_regexp::to_rust(&expression)?;
                let regexp = RegexBuilder::new(&expression).size_limit(MAX_COMPILED).build().ok()?;
                Rule::Regexp { pattern: pattern.to_owned(), regexp }
            }
        })
    }

    pub(super) fn matches(&self, path: &Subject<'_>) -> bool {
        match self {
            Rule::Exact(pattern) => *path.bytes == *pattern.as_bytes(),
            Rule::Prefix(prefix) => path.bytes.starts_with(prefix.as_bytes()),
            Rule::Suffix(suffix) => {
                path.bytes.ends_with(suffix.as_bytes())
                    || suffix.strip_prefix('/').is_some_and(|rest| *path.bytes == *rest.as_bytes())
            }
            Rule::Regexp { pattern: _, regexp } => regexp.is_match(&path.characters()),
        }
    }

    /// Whether it could match a path below a directory. Never a wrong no.
    pub(super) fn may_match_below(&self, directory: &Subject<'_>) -> bool {
        let inside = directory.with_slash();
        match self {
            Rule::Exact(pattern) => pattern.len() > inside.len() && pattern.as_bytes().starts_with(&inside),
            Rule::Prefix(prefix) => prefix.as_bytes().starts_with(&inside) || inside.starts_with(prefix.as_bytes()),
            Rule::Suffix(_) => true,
            Rule::Regexp { pattern, regexp: _ } if pattern.contains(['[', '\\']) => {
                let special = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
                let literal = &pattern.as_bytes()[..special];
                literal.starts_with(&inside) || inside.starts_with(literal)
            }
            Rule::Regexp { pattern, regexp: _ } => components_lead_below(pattern, &directory.bytes),
        }
    }
}

/// Compares component by component; a pattern with only `*` and `?` has as many components as what it matches.
fn components_lead_below(pattern: &str, directory: &[u8]) -> bool {
    let mut wanted = pattern.split('/');
    for name in directory.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        match wanted.next() {
            None => return false,
            Some(part) if part.contains("**") => return true,
            Some(part) if glob::matches(part, name) != Ok(true) => return false,
            Some(_) => (),
        }
    }
    wanted.next().is_some()
}

/// The kind of a pattern and its regular expression in Go's syntax.
fn translate(pattern: &str) -> (Shape, String) {
    let mut shape = Shape::Exact;
    let mut expression = String::from("^");
    let mut rest = pattern.chars().peekable();
    let mut first = true;
    while let Some(next) = rest.next() {
        match next {
            '*' if rest.peek() == Some(&'*') => {
                rest.next();
                rest.next_if_eq(&'/');
                shape = match (rest.peek(), shape) {
                    (None, Shape::Exact) => Shape::Prefix,
                    (None, _) => {
                        expression.push_str(".*");
                        Shape::Regexp
                    }
                    (Some(_), _) => {
                        expression.push_str("(.*/)?");
                        Shape::Regexp
                    }
                };
                if first {
                    shape = Shape::Suffix;
                }
            }
            '*' => {
                expression.push_str("[^/]*");
                shape = Shape::Regexp;
            }
            '?' => {
                expression.push_str("[^/]");
                shape = Shape::Regexp;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => expression.extend(['\\', next]),
            '\\' => {
                expression.push('\\');
                if let Some(escaped) = rest.next() {
                    expression.push(escaped);
                    shape = Shape::Regexp;
                }
            }
            '[' | ']' => {
                expression.push(next);
                shape = Shape::Regexp;
            }
            literal => expression.push(literal),
        }
        first = false;
    }
    expression.push('$');
    (shape, expression)
}
