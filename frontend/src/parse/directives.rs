//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of the file.

use std::collections::BTreeSet;

use super::lines::Line;
use crate::diagnostic::Diagnostic;
use crate::instruction::Word;

/// What the directives say.
#[derive(Clone, Debug)]
pub(crate) struct Directives {
    pub(crate) escape: char,
    /// Value of `syntax`, in any of its spellings.
    pub(crate) syntax: Option<Word>,
    /// Value of `check`.
    pub(crate) check: Option<Word>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Syntax,
    Escape,
    Check,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Key::Syntax => "syntax",
            Key::Escape => "escape",
            Key::Check => "check",
        }
    }
}

/// Reads directives line by line until the zone ends.
#[derive(Debug)]
pub(super) struct Zone {
    comment: &'static str,
    seen: BTreeSet<Key>,
    done: bool,
}

/// What a line of the zone is.
enum Found {
    Nothing,
    Directive(Key, Word),
    Duplicate(Key),
}

impl Zone {
    pub(super) fn new(comment: &'static str) -> Zone {
        Zone { comment, seen: BTreeSet::new(), done: false }
    }

    fn line(&mut self, line: &str, start: usize) -> Found {
        if self.done {
            return Found::Nothing;
        }
        let Some((key, word)) = line.strip_prefix(self.comment).and_then(|text| directive(text, start + self.comment.len()))
        else {
            self.done = true;
            return Found::Nothing;
        };
        if self.seen.insert(key) { Found::Directive(key, word) } else { Found::Duplicate(key) }
    }

    /// Takes a line of the file, blanks before it cut; true when it was a directive. Only `escape` matters to the parser.
    pub(super) fn take(&mut self, line: &str, start: usize, escape: &mut char) -> Result<bool, Diagnostic> {
        match self.line(line, start) {
            Found::Nothing => Ok(false),
            Found::Duplicate(key) => {
                let message = format!("only one {} parser directive can be used", key.name());
                Err(Diagnostic::error("duplicate-directive", message, start..start + line.len()))
            }
            Found::Directive(Key::Escape, word) => {
                *escape = escape_character(&word)?;
                Ok(true)
            }
            Found::Directive(Key::Syntax | Key::Check, _) => Ok(true),
        }
    }
}

fn escape_character(word: &Word) -> Result<char, Diagnostic> {
    match &*word.text {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => {
            let message = format!("invalid escape token '{other}' does not match ` or \\");
            Err(Diagnostic::error("invalid-escape", message, word.span.clone()))
        }
    }
}

/// `key = value` of a known key.
fn directive(text: &str, start: usize) -> Option<(Key, Word)> {
    let trimmed = text.trim_start();
    let at = start + text.len() - trimmed.len();
    let name_end = trimmed.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(trimmed.len());
    let (name, rest) = trimmed.split_at(name_end);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c');
    let value = rest.trim_start_matches(blank).strip_prefix('=')?.trim_start_matches(blank);
    let value_at = at + trimmed.len() - value.len();
    let value = value.trim_end_matches(blank);
    if value.is_empty() {
        return None;
    }
    let key = match name.to_ascii_lowercase().as_str() {
        "syntax" => Key::Syntax,
        "escape" => Key::Escape,
        "check" => Key::Check,
        _ => return None,
    };
    Some((key, Word { text: value.to_owned(), span: value_at..value_at + value.len() }))
}

/// Finds a directive anywhere it may stand: after a `#!` line; `syntax` also as `// syntax=` or JSON.
pub(super) fn detect(text: &str, start: usize) -> Directives {
    let body = &text[start..];
    let start = match body.split_once('\n') {
        Some((first, _)) if first.starts_with("#!") => start + first.len() + 1,
        Some(_) | None => start,
    };
    let hash = in_zone(text, start, "#");
    let find = |found: &[(Key, Word)], key: Key| found.iter().find(|(k, _)| *k == key).map(|(_, word)| word.clone());
    let syntax =
        find(&hash, Key::Syntax).or_else(|| find(&in_zone(text, start, "//"), Key::Syntax)).or_else(|| json_syntax(text, start));
    Directives { escape: '\\', syntax, check: find(&hash, Key::Check) }
}

fn in_zone(text: &str, start: usize, comment: &'static str) -> Vec<(Key, Word)> {
    let mut zone = Zone::new(comment);
    let mut found = Vec::new();
    for line in super::lines::Lines::new(text, start) {
        match zone.line(line.text(), line.start) {
            Found::Directive(key, word) => found.push((key, word)),
            Found::Nothing | Found::Duplicate(_) => break,
        }
    }
    found
}

fn json_syntax(text: &str, start: usize) -> Option<Word> {
    let body = &text[start..];
    if !body.trim_start().starts_with('{') {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    let value = object.get("syntax")?.as_str()?;
    let end = body.find('\n').unwrap_or(body.len());
    Some(Word { text: value.to_owned(), span: start..start + end })
}

/// The text of a comment line without the mark.
pub(super) fn comment_text<'a>(line: &Line<'a>) -> &'a str {
    line.text().trim_start().trim_start_matches('#').trim()
}

/// The value of `check=` in a comment above an instruction.
pub(crate) fn check_comment(comment: &str) -> Option<String> {
    let (key, word) = directive(comment, 0)?;
    (key == Key::Check).then_some(word.text)
}
