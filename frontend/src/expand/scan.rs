//! The scanner: characters, quotes, `$` and its forms.

use std::collections::BTreeSet;

use super::{Lexer, Quotes, Variables, pattern};

/// How deep `${…}` may nest.
const DEEPEST: u32 = 50;
/// How much longer than the text the result may be: values that double themselves would fill the memory.
const MOST_GROWTH: usize = 1 << 20;

/// What is said of braces that do not end.
pub(super) const NO_BRACE: &str = "syntax error: missing '}'";

type Scanned<T> = Result<T, String>;

pub(super) struct Scan<'a> {
    lexer: Lexer,
    variables: &'a dyn Variables,
    text: &'a str,
    at: usize,
    depth: u32,
    limit: usize,
    /// Where the last `$` outside of braces stood.
    pub(super) last_variable: usize,
    pub(super) used: BTreeSet<String>,
    pub(super) unset: BTreeSet<String>,
}

/// Words as they grow.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
    inside: bool,
}

impl Words {
    fn char(&mut self, c: char) {
        if !c.is_whitespace() {
            self.current.push(c);
            self.inside = true;
        } else if self.inside && !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
            self.inside = false;
        }
    }

    fn split(&mut self, text: &str) {
        text.chars().for_each(|c| self.char(c));
    }

    fn whole(&mut self, text: &str) {
        self.current.push_str(text);
        self.inside = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.current.is_empty() {
            self.done.push(self.current);
        }
        self.done
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(lexer: Lexer, text: &'a str, variables: &'a dyn Variables) -> Scan<'a> {
        let limit = text.len().saturating_add(MOST_GROWTH);
        let (used, unset) = (BTreeSet::new(), BTreeSet::new());
        Scan { lexer, variables, text, at: 0, depth: 0, limit, last_variable: 0, used, unset }
    }

    /// Scans all of the text.
    pub(super) fn whole(&mut self, split: bool) -> Scanned<(String, Vec<String>)> {
        let mut words = split.then(Words::default);
        let text = self.until(None, &mut words)?;
        Ok((text, words.map(Words::finish).unwrap_or_default()))
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Scans a word inside braces.
    fn nested(&mut self, stop: char, keep_escapes: bool) -> Scanned<String> {
        if self.depth >= DEEPEST {
            return Err("substitutions are nested too deeply".into());
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.lexer.keep_escapes, keep_escapes);
        let result = self.until(Some(stop), &mut None);
        self.lexer.keep_escapes = before;
        self.depth -= 1;
        result
    }

    fn until(&mut self, stop: Option<char>, words: &mut Option<Words>) -> Scanned<String> {
        let mut result = String::new();
        while let Some(c) = self.peek() {
            if result.len() > self.limit {
                return Err("the expanded text is too long".into());
            }
            if stop == Some(c) {
                self.next();
                return Ok(result);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    result.push_str(&value);
                    words.iter_mut().for_each(|words| words.split(&value));
                }
                '<' | '\'' | '"' if c == '<' || self.lexer.quotes != Quotes::Ignore => {
                    let piece = match c {
                        '<' => self.angle(),
                        '\'' => self.single_quoted()?,
                        _ => self.double_quoted()?,
                    };
                    result.push_str(&piece);
                    words.iter_mut().for_each(|words| words.whole(&piece));
                }
                c if c == self.lexer.escape => {
                    self.next();
                    let kept = if self.lexer.keep_escapes { Some(c) } else { None };
                    for c in kept.into_iter().chain(self.next()) {
                        result.push(c);
                        words.iter_mut().for_each(|words| words.whole(c.encode_utf8(&mut [0; 4])));
                    }
                }
                c => {
                    self.next();
                    result.push(c);
                    words.iter_mut().for_each(|words| words.char(c));
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("unexpected end of statement while looking for matching {stop}")),
            None => Ok(result),
        }
    }

    /// `<<` takes the blanks after it along, so that `<< EOF` is one word.
    fn angle(&mut self) -> String {
        self.next();
        if self.peek() != Some('<') {
            return "<".into();
        }
        self.next();
        let mut piece = String::from("<<");
        while let Some(c) = self.peek().filter(|c| matches!(c, '\t' | '\r' | ' ')) {
            self.next();
            piece.push(c);
        }
        piece
    }

    fn single_quoted(&mut self) -> Scanned<String> {
        let start = self.at;
        self.next();
        let rest = &self.text[self.at..];
        let length = rest.find('\'').ok_or("unexpected end of statement while looking for matching single-quote")?;
        self.at += length + 1;
        Ok(match self.lexer.quotes {
            Quotes::Keep => self.text[start..self.at].to_owned(),
            Quotes::Remove | Quotes::Ignore => rest[..length].to_owned(),
        })
    }

    fn double_quoted(&mut self) -> Scanned<String> {
        let mut result = String::new();
        let keep = self.lexer.quotes == Quotes::Keep;
        self.next();
        if keep {
            result.push('"');
        }
        loop {
            if result.len() > self.limit {
                return Err("the expanded text is too long".into());
            }
            match self.peek() {
                None => return Err("unexpected end of statement while looking for matching double-quote".into()),
                Some('"') => {
                    self.next();
                    if keep {
                        result.push('"');
                    }
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(c) => {
                    self.next();
                    let mut written = Some(c);
                    if c == self.lexer.escape {
                        if self.lexer.keep_escapes {
                            result.push(c);
                        }
                        match self.peek() {
                            None => written = None,
                            Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.lexer.escape => {
                                written = self.next();
                            }
                            Some(_) => {}
                        }
                    }
                    result.extend(written);
                }
            }
        }
    }

    fn dollar(&mut self) -> Scanned<String> {
        if self.depth == 0 {
            self.last_variable = self.at;
        }
        self.next();
        if self.peek() == Some('{') {
            self.next();
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".into());
        }
        match self.value(&name) {
            None if self.lexer.keep_unset => Ok(format!("${name}")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.variables.value(name).map(str::to_owned);
        let names = if value.is_some() { &mut self.used } else { &mut self.unset };
        names.insert(name.to_owned());
        value
    }

    /// A name: letters, digits and `_`; or only digits; or one special character.
    fn name(&mut self) -> String {
        let rest = &self.text[self.at..];
        let length = match rest.chars().next() {
            Some(c) if c.is_numeric() => rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            Some(_) | None => rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()),
        };
        self.at += length;
        rest[..length].to_owned()
    }

    fn braces(&mut self) -> Scanned<String> {
        match self.peek() {
            None => return Err(NO_BRACE.into()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".into()),
            Some(_) => {}
        }
        let name = self.name();
        let Some(operator) = self.next() else { return Err(NO_BRACE.into()) };
        match operator {
            '}' => match self.value(&name) {
                None if self.lexer.keep_unset => Ok(format!("${{{name}}}")),
                value => Ok(value.unwrap_or_default()),
            },
            ':' => {
                let Some(operator) = self.next() else { return Err(NO_BRACE.into()) };
                self.modifier(&name, operator, true)
            }
            '+' | '-' | '?' | '#' | '%' => self.modifier(&name, operator, false),
            '/' => self.replacement(&name),
            other => Err(format!("unsupported modifier ({other}) in substitution")),
        }
    }

    /// `${name-word}` and its kin; with `colon`, empty counts as unset.
    fn modifier(&mut self, name: &str, operator: char, colon: bool) -> Scanned<String> {
        let written = if colon { format!(":{operator}") } else { operator.to_string() };
        let unsupported = || format!("unsupported modifier ({written}) in substitution");
        let is_pattern = matches!(operator, '#' | '%');
        if colon && is_pattern {
            return Err(unsupported());
        }
        let word = self.nested_or('}', is_pattern, NO_BRACE)?;
        let value = self.value(name);
        if self.lexer.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let usable = value.as_deref().filter(|value| !(colon && value.is_empty()));
        match operator {
            '-' => Ok(usable.map_or(word, str::to_owned)),
            '+' => Ok(usable.map(|_| word).unwrap_or_default()),
            '?' => usable.map(str::to_owned).ok_or_else(|| {
                let state = if value.is_some() { "empty" } else { "unset" };
                let reason = if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                format!("{name}: {reason}")
            }),
            '#' => pattern::trim_prefix(&word, &value.unwrap_or_default()),
            '%' => pattern::trim_suffix(&word, &value.unwrap_or_default()),
            _ => Err(unsupported()),
        }
    }

    /// `${name/pattern/text}` and `${name//pattern/text}`.
    fn replacement(&mut self, name: &str) -> Scanned<String> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let wanted = self.nested_or('/', true, "syntax error: missing '/' in ${}")?;
        let text = self.nested_or('}', true, NO_BRACE)?;
        let value = self.value(name);
        match value {
            None if self.lexer.keep_unset => Ok(format!("${{{name}/{wanted}/{text}}}")),
            value => pattern::replace(&wanted, &value.unwrap_or_default(), &text, all, self.limit),
        }
    }

    fn nested_or(&mut self, stop: char, keep_escapes: bool, at_end: &str) -> Scanned<String> {
        let result = self.nested(stop, keep_escapes);
        result.map_err(|error| if self.peek().is_none() { at_end.to_owned() } else { error })
    }
}
