//! Go's `filepath.Match` (spec G-35): `*`, `?`, classes and `\`, none of which but a class matches `/`.

/// A pattern that is not well-formed: an open or empty class, a range without its end, a `\` at the end.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("syntax error in pattern `{0}`")]
pub struct BadPattern(pub String);

/// Whether the whole `name` matches. Bytes that are not UTF-8 are one character each. The whole pattern is checked, matching or not.
pub fn matches(pattern: &str, name: &[u8]) -> Result<bool, BadPattern> {
    let tokens = parse(pattern).ok_or_else(|| BadPattern(pattern.to_owned()))?;
    Ok(match_tokens(&tokens, name))
}

/// Whether the text has a character that means something in a pattern.
pub fn has_meta(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// EINVAL-like check without a name.
pub(crate) fn check(pattern: &str) -> Result<(), BadPattern> {
    parse(pattern).map(drop).ok_or_else(|| BadPattern(pattern.to_owned()))
}

enum Token {
    Star,
    Any,
    Byte(u8),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

fn parse(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        match next {
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::Any),
            '[' => tokens.push(parse_class(&mut rest)?),
            '\\' => push_literal(&mut tokens, rest.next()?),
            literal => push_literal(&mut tokens, literal),
        }
    }
    Some(tokens)
}

fn push_literal(tokens: &mut Vec<Token>, literal: char) {
    tokens.extend(literal.encode_utf8(&mut [0; 4]).bytes().map(Token::Byte));
}

/// What follows `[`: an optional `^`, then at least one character or range, then `]`.
fn parse_class(rest: &mut std::str::Chars<'_>) -> Option<Token> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.as_str().starts_with(']') {
            rest.next();
            return Some(Token::Class { negated, ranges });
        }
        let low = class_char(rest)?;
        let mut high = low;
        if rest.as_str().starts_with('-') {
            rest.next();
            high = class_char(rest)?;
        }
        ranges.push((low, high));
    }
}

fn class_char(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        plain => Some(plain),
    }
}

/// Goes back to the last star only: no two stars need to be tried together, since a star that was passed can only have taken less.
fn match_tokens(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry = None;
    loop {
        match tokens.get(token) {
            Some(Token::Star) => {
                token += 1;
                retry = Some((token, at));
                continue;
            }
            None if at == name.len() => return true,
            None => (),
            Some(other) => {
                if let Some(length) = match_one(other, &name[at..]) {
                    token += 1;
                    at += length;
                    continue;
                }
            }
        }
        // The star takes one byte more, but no slash.
        match retry {
            Some((after_star, from)) if from < name.len() && name[from] != b'/' => {
                retry = Some((after_star, from + 1));
                (token, at) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// How many bytes one token takes.
fn match_one(token: &Token, name: &[u8]) -> Option<usize> {
    let first = *name.first()?;
    match token {
        Token::Star => None,
        Token::Byte(byte) => (first == *byte).then_some(1),
        Token::Any => (first != b'/').then(|| decode(name).1),
        Token::Class { negated, ranges } => {
            let (character, length) = decode(name);
            let inside = ranges.iter().any(|(low, high)| *low <= character && character <= *high);
            (inside != *negated).then_some(length)
        }
    }
}

/// The first character and its length; a byte that begins none is U+FFFD of length 1, as in Go.
fn decode(name: &[u8]) -> (char, usize) {
    let window = &name[..name.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).expect("valid up to there"),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |character| (character, character.len_utf8()))
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
