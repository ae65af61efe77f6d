//! From Go's regular expressions to the regex crate's: the subset that ignore patterns can produce.
//!
//! The two agree on operators. They differ in classes (the regex crate has nested classes and set operations, Go does not), in the
//! reach of `\d`, `\s`, `\w` and `\b` (ASCII in Go), and in which escapes exist. So classes and escapes are read by Go's rules and
//! written anew.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

/// `None` where Go reports a syntax error (and for `\Q…\E`, `\p{…}`, which no sensible file name pattern holds).
pub(super) fn to_rust(go: &str) -> Option<String> {
    let mut rust = String::new();
    let mut rest = go.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => rust.push_str(&escape(&mut rest)?.outside_class()),
            '[' => class(&mut rest, &mut rust)?,
            '^' | '$' | '(' | ')' | '*' | '?' | '.' => rust.push(next),
            literal => push_char(&mut rust, literal),
        }
    }
    Some(rust)
}

fn push_char(rust: &mut String, literal: char) {
    write!(rust, "\\x{{{:x}}}", u32::from(literal)).expect("writing to a string");
}

/// What an escape stands for.
enum Escape {
    Char(char),
    /// The inside of a class, and whether it is negated.
    Class(&'static str, bool),
    /// One of the single-letter Unicode categories.
    Category(char, bool),
    /// Something that matches between characters, or any byte.
    Operator(&'static str),
}

impl Escape {
    fn outside_class(&self) -> String {
        match self {
            Escape::Char(literal) => format!("\\x{{{:x}}}", u32::from(*literal)),
            Escape::Class(..) | Escape::Category(..) => self.as_class(),
            Escape::Operator(operator) => (*operator).to_owned(),
        }
    }

    fn as_class(&self) -> String {
        match self {
            Escape::Class(inside, negated) => format!("[{}{inside}]", if *negated { "^" } else { "" }),
            Escape::Category(letter, negated) => format!("\\{}{letter}", if *negated { 'P' } else { 'p' }),
            Escape::Char(_) | Escape::Operator(_) => self.outside_class(),
        }
    }
}

/// What follows a backslash.
fn escape(rest: &mut Peekable<Chars<'_>>) -> Option<Escape> {
    Some(match rest.next()? {
        'd' => Escape::Class("0-9", false),
        'D' => Escape::Class("0-9", true),
        's' => Escape::Class(r"\t\n\x0c\r ", false),
        'S' => Escape::Class(r"\t\n\x0c\r ", true),
        'w' => Escape::Class("0-9A-Za-z_", false),
        'W' => Escape::Class("0-9A-Za-z_", true),
        'p' => Escape::Category(category(rest)?, false),
        'P' => Escape::Category(category(rest)?, true),
        'b' => Escape::Operator(r"(?-u:\b)"),
        'B' => Escape::Operator(r"(?-u:\B)"),
        'A' => Escape::Operator(r"\A"),
        'z' => Escape::Operator(r"\z"),
        'C' => Escape::Operator("(?s-u:.)"),
        'a' => Escape::Char('\x07'),
        'f' => Escape::Char('\x0c'),
        'n' => Escape::Char('\n'),
        'r' => Escape::Char('\r'),
        't' => Escape::Char('\t'),
        'v' => Escape::Char('\x0b'),
        'x' => Escape::Char(char::from(u8::try_from(digit(rest, 16)? * 16 + digit(rest, 16)?).ok()?)),
        first @ '0'..='7' => octal(first, rest)?,
        punctuation if punctuation.is_ascii() && !punctuation.is_ascii_alphanumeric() => Escape::Char(punctuation),
        _ => return None,
    })
}

fn category(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    rest.next().filter(|letter| "CLMNPSZ".contains(*letter))
}

fn digit(rest: &mut Peekable<Chars<'_>>, radix: u32) -> Option<u32> {
    rest.next()?.to_digit(radix)
}

/// Up to three octal digits; a single one that is not zero would be a back-reference.
fn octal(first: char, rest: &mut Peekable<Chars<'_>>) -> Option<Escape> {
    let mut value = first.to_digit(8)?;
    let mut more = 0;
    while more < 2
        && let Some(digit) = rest.peek().and_then(|next| next.to_digit(8))
    {
        rest.next();
        value = value * 8 + digit;
        more += 1;
    }
    if more == 0 && first != '0' {
        return None;
    }
    char::from_u32(value).map(Escape::Char)
}

/// What follows `[`, up to its `]`.
fn class(rest: &mut Peekable<Chars<'_>>, rust: &mut String) -> Option<()> {
    rust.push('[');
    if rest.next_if_eq(&'^').is_some() {
        rust.push('^');
    }
    let mut first = true;
    loop {
        match rest.next()? {
            ']' if !first => break,
            '[' if rest.peek() == Some(&':') => named_class(rest, rust)?,
            low => class_item(low, rest, rust)?,
        }
        first = false;
    }
    rust.push(']');
    Some(())
}

/// A character, a range or an escape for several.
fn class_item(first: char, rest: &mut Peekable<Chars<'_>>, rust: &mut String) -> Option<()> {
    let low = match class_char(first, rest)? {
        Escape::Char(low) => low,
        class @ (Escape::Class(..) | Escape::Category(..)) => {
            rust.push_str(&class.as_class());
            return Some(());
        }
        Escape::Operator(_) => return None,
    };
    push_char(rust, low);
    let mut ahead = rest.clone();
    // `[a-]` is two characters.
    if ahead.next() == Some('-') && ahead.peek() != Some(&']') {
        rest.next();
        let end = rest.next()?;
        let Escape::Char(high) = class_char(end, rest)? else { return None };
        if high < low {
            return None;
        }
        rust.push('-');
        push_char(rust, high);
    }
    Some(())
}

fn class_char(first: char, rest: &mut Peekable<Chars<'_>>) -> Option<Escape> {
    if first == '\\' { escape(rest) } else { Some(Escape::Char(first)) }
}

/// `[:name:]` with its opening bracket read already. Where no `:]` follows, the bracket is a plain character.
fn named_class(rest: &mut Peekable<Chars<'_>>, rust: &mut String) -> Option<()> {
    const NAMES: &[&str] = &[
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
        "xdigit",
    ];
    let ahead: String = rest.clone().skip(1).collect();
    let Some(end) = ahead.find(":]") else {
        push_char(rust, '[');
        return Some(());
    };
    let written = &ahead[..end];
    if !NAMES.contains(&written.strip_prefix('^').unwrap_or(written)) {
        return None;
    }
    write!(rust, "[:{written}:]").expect("writing to a string");
    rest.nth(written.chars().count() + 2);
    Some(())
}
