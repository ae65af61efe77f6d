//! Shell patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and `\`, no classes.

use regex::{Regex, RegexBuilder};

/// A compiled pattern may take this much memory.
const LARGEST: usize = 1 << 20;

/// Cuts what matches at the start; a pattern that begins with `#` again takes the longest match.
pub(super) fn trim_prefix(word: &str, value: &str) -> Result<String, String> {
    let (greedy, pattern) = greedy(word, '#');
    cut(pattern, value, greedy)
}

/// Cuts what matches at the end; a pattern that begins with `%` again takes the longest match.
pub(super) fn trim_suffix(word: &str, value: &str) -> Result<String, String> {
    let (greedy, pattern) = greedy(word, '%');
    // A search finds the leftmost match; the shortest rightmost one is found from behind.
    let mirrored: String = value.chars().rev().collect();
    let rest = cut(&reversed(pattern), &mirrored, greedy)?;
    Ok(rest.chars().rev().collect())
}

/// Replaces the first or all matches.
pub(super) fn replace(pattern: &str, value: &str, text: &str, all: bool, limit: usize) -> Result<String, String> {
    let regex = compile(pattern, true, false)?;
    let mut result = String::new();
    let mut end = 0;
    for found in regex.find_iter(value).take(if all { usize::MAX } else { 1 }) {
        result.push_str(&value[end..found.start()]);
        result.push_str(text);
        end = found.end();
        if result.len() > limit {
            return Err("the expanded text is too long".into());
        }
    }
    result.push_str(&value[end..]);
    Ok(result)
}

fn greedy(word: &str, mark: char) -> (bool, &str) {
    word.strip_prefix(mark).map_or((false, word), |rest| (true, rest))
}

fn cut(pattern: &str, value: &str, greedy: bool) -> Result<String, String> {
    let regex = compile(pattern, greedy, true)?;
    Ok(regex.find(value).map_or(value, |found| &value[found.end()..]).to_owned())
}

fn compile(pattern: &str, greedy: bool, anchored: bool) -> Result<Regex, String> {
    let mut out = String::with_capacity(pattern.len() + 4);
    if anchored {
        out.push('^');
    }
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => out.push('.'),
            // These two are escaped for the braces around, not for the pattern.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '?' | '\\')) => out.extend(['\\', escaped]),
                other => {
                    let shown = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid pattern ({pattern}) in substitution: invalid escape '\\{shown}'"));
                }
            },
            '[' | ']' | '{' | '}' | '.' | '+' | '(' | ')' | '|' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    let built = RegexBuilder::new(&out).size_limit(LARGEST).build();
    built.map_err(|_error| "invalid pattern in substitution: it is too long".to_owned())
}

/// The pattern from behind, with escapes still before what they escape.
fn reversed(pattern: &str) -> String {
    let mut pieces: Vec<[Option<char>; 2]> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        pieces.push([Some(c), escaped]);
    }
    pieces.into_iter().rev().flatten().flatten().collect()
}
