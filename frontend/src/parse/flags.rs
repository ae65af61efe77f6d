//! Flags between an instruction's name and its arguments: splitting them off, and typing them.

use crate::diagnostic::Diagnostic;
use crate::instruction::Word;
use crate::source::Span;
use crate::suggest;

use super::lines::SpanMap;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, `=true` or `=false`.
    Switch,
    /// One value.
    Text,
    /// A value each time.
    Repeated,
}

/// The flags that an instruction knows.
pub(super) type Known = &'static [(&'static str, Kind)];

/// The words that begin with `--`, quotes and escapes resolved, and where the arguments start.
pub(super) fn split(text: &str, offset: usize, escape: char, map: &SpanMap) -> (Vec<Word>, usize) {
    let mut flags = Vec::new();
    let mut chars = text.char_indices().peekable();
    loop {
        while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some(&(start, _)) = chars.peek() else { return (flags, text.len()) };
        if !text[start..].starts_with("--") {
            return (flags, start);
        }
        let mut word = String::new();
        let mut quote: Option<char> = None;
        while let Some(&(_, c)) = chars.peek() {
            match quote {
                None if c.is_whitespace() => break,
                None if c == '\'' || c == '"' => quote = Some(c),
                Some(open) if c == open => quote = None,
                None | Some(_) if c == escape => {
                    chars.next();
                    word.extend(chars.peek().map(|(_, escaped)| *escaped));
                }
                None | Some(_) => word.push(c),
            }
            chars.next();
        }
        let end = chars.peek().map_or(text.len(), |(at, _)| *at);
        if word == "--" {
            return (flags, end);
        }
        flags.push(Word { text: word, span: map.span(offset + start..offset + end) });
    }
}

/// Typed flags of one instruction.
#[derive(Debug, Default)]
pub(super) struct Flags {
    found: Vec<(&'static str, Option<String>, Span)>,
}

impl Flags {
    /// The value of a flag that takes one; empty counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<Word> {
        self.texts(name).into_iter().find(|word| !word.text.is_empty())
    }

    /// All values of a flag, in order.
    pub(super) fn texts(&self, name: &str) -> Vec<Word> {
        let matching = self.found.iter().filter(|(found, _, _)| *found == name);
        matching.filter_map(|(_, value, span)| Some(Word { text: value.clone()?, span: span.clone() })).collect()
    }

    /// Whether a switch is on; `None` when it is not given.
    pub(super) fn switch(&self, name: &str) -> Option<(bool, Span)> {
        let (_, value, span) = self.found.iter().find(|(found, _, _)| *found == name)?;
        Some((!value.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("false")), span.clone()))
    }
}

/// Types the flags; every mistake is reported.
pub(super) fn check(words: &[Word], known: Known, diagnostics: &mut Vec<Diagnostic>) -> Option<Flags> {
    let mut flags = Flags::default();
    let before = diagnostics.len();
    for word in words {
        match check_one(word, known, &flags) {
            Ok(flag) => flags.found.push(flag),
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    (diagnostics.len() == before).then_some(flags)
}

type Flag = (&'static str, Option<String>, Span);

fn check_one(word: &Word, known: Known, flags: &Flags) -> Result<Flag, Box<Diagnostic>> {
    let (written, value) = match word.text.split_once('=') {
        Some((written, value)) => (written, Some(value)),
        None => (&*word.text, None),
    };
    let wrong = |code, message: String| Box::new(Diagnostic::error(code, message, word.span.clone()));
    let name = written.strip_prefix("--").unwrap_or(written);
    let Some((name, kind)) = known.iter().find(|(known, _)| *known == name) else {
        let suggestion = suggest::nearest(name, known.iter().map(|(known, _)| *known));
        let unknown = wrong("unknown-flag", format!("unknown flag: {written}"));
        return Err(Box::new(unknown.did_you_mean(suggestion)));
    };
    if *kind != Kind::Repeated && flags.found.iter().any(|(found, _, _)| found == name) {
        return Err(wrong("duplicate-flag", format!("duplicate flag specified: {written}")));
    }
    let missing = || wrong("flag-value", format!("missing a value on flag: {written}"));
    match (kind, value) {
        (Kind::Switch, Some("")) | (Kind::Text | Kind::Repeated, None) => return Err(missing()),
        (Kind::Switch, Some(value)) if !["true", "false"].contains(&value.to_ascii_lowercase().as_str()) => {
            return Err(wrong("flag-value", format!("expecting boolean value for flag {written}, not: {value}")));
        }
        (Kind::Switch, None | Some(_)) | (Kind::Text | Kind::Repeated, Some(_)) => {}
    }
    Ok((name, value.map(str::to_owned), word.span.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = &[("from", Kind::Text), ("link", Kind::Switch), ("exclude", Kind::Repeated)];

    fn split_texts(text: &str) -> (Vec<String>, &str) {
        let (flags, rest) = split(text, 0, '\\', &SpanMap::Fixed(0..1));
        (flags.into_iter().map(|word| word.text).collect(), &text[rest..])
    }

    #[test]
    fn flags_are_split_off() {
        for (text, flags, rest) in [
            ("--from=a b c", &["--from=a"][..], "b c"),
            ("  --from=a   --link b", &["--from=a", "--link"], "b"),
            (r#"--from="a b" c"#, &["--from=a b"], "c"),
            (r"--from=a\ b c", &["--from=a b"], "c"),
            (r"--from='a\'b' c", &["--from=a'b"], " c"),
            ("-- --not-a-flag", &[], " --not-a-flag"),
            ("--", &[], ""),
            ("--from", &["--from"], ""),
            ("-x --from=a", &[], "-x --from=a"),
            (r"--from=a\", &["--from=a"], ""),
            ("--größe=ü x", &["--größe=ü"], "x"),
        ] {
            let (found, left) = split_texts(text);
            assert_eq!(
                (found.iter().map(String::as_str).collect::<Vec<_>>(), left.trim_start()),
                (flags.to_vec(), rest.trim_start()),
                "{text}"
            );
        }
    }

    fn check_words(words: &[&str]) -> String {
        let words: Vec<Word> = words.iter().map(|text| Word { text: (*text).to_owned(), span: 0..1 }).collect();
        let mut diagnostics = Vec::new();
        let flags = check(&words, KNOWN, &mut diagnostics);
        match flags {
            Some(flags) => format!(
                "{:?} {:?} {}",
                flags.text("from").map(|w| w.text),
                flags.switch("link").map(|s| s.0),
                flags.texts("exclude").len()
            ),
            None => diagnostics
                .into_iter()
                .map(|d| d.message + &d.hint.map(|h| format!(" ({h})")).unwrap_or_default())
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn flags_are_typed() {
        for (words, expected) in [
            (&["--from=a", "--link", "--exclude=x", "--exclude=y"][..], r#"Some("a") Some(true) 2"#),
            (&["--link=false"], "None Some(false) 0"),
            (&["--link=TRUE"], "None Some(true) 0"),
            (&["--from="], "None None 0"),
            (&["--form=a"], "unknown flag: --form (did you mean from?)"),
            (&["--nothing"], "unknown flag: --nothing"),
            (&["--from", "--link="], "missing a value on flag: --from; missing a value on flag: --link"),
            (&["--from=a", "--from=b"], "duplicate flag specified: --from"),
            (&["--link=maybe"], "expecting boolean value for flag --link, not: maybe"),
        ] {
            assert_eq!(check_words(words), expected, "{words:?}");
        }
    }
}
