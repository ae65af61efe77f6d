//! Arguments of each instruction.

use std::ops::Range;

use rbuild_oci::Healthcheck;

use super::flags::Flags;
use super::json::{self, Array};
use super::lines::SpanMap;
use super::{Parser, heredoc, words};
use crate::diagnostic::Diagnostic;
use crate::go_format;
use crate::instruction::{Argument, CommandLine, From, Heredoc, Network, Pair, Run, Security, Transfer, Word};
use crate::lint::Rule;
use crate::suggest;

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// The text after the flags.
pub(super) struct Arguments<'a> {
    pub(super) line: &'a str,
    pub(super) range: Range<usize>,
    pub(super) map: &'a SpanMap,
    pub(super) keyword: &'a Word,
    pub(super) escape: char,
}

impl Parser {
    pub(super) fn from(&mut self, arguments: &Arguments<'_>, flags: &Flags, comments: &[String]) -> Result<From> {
        let words = arguments.plain();
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [base, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                self.lint_casing(arguments, keyword, name, comments);
                (base, Some(stage_name(name)?))
            }
            _ => {
                let message = "FROM requires either one or three arguments";
                return Err(arguments.wrong("from-arguments", message).hint("FROM image [AS name]").into());
            }
        };
        if let Some(name) = &name {
            self.describe("FROM", &[&name.text], arguments, comments);
        }
        Ok(From { base: base.clone(), name, platform: flags.text("platform") })
    }

    fn lint_casing(&mut self, arguments: &Arguments<'_>, keyword: &Word, name: &Word, comments: &[String]) {
        if name.text != name.text.to_lowercase() {
            let message = format!("Stage name '{}' should be lowercase", name.text);
            self.findings.report(Rule::StageNameCasing, &name.span, comments, message);
        }
        let from = &arguments.keyword.text;
        let same = match (from == &from.to_lowercase(), from == &from.to_uppercase()) {
            (true, _) => keyword.text == keyword.text.to_lowercase(),
            (false, true) => keyword.text == keyword.text.to_uppercase(),
            (false, false) => true,
        };
        if !same {
            let message = format!("'{}' and '{from}' keywords' casing do not match", keyword.text);
            self.findings.report(Rule::FromAsCasing, &keyword.span, comments, message);
        }
    }

    pub(super) fn args(&mut self, arguments: &Arguments<'_>, comments: &[String]) -> Result<Vec<Argument>> {
        let words = arguments.quoted();
        if words.is_empty() {
            return Err(arguments.at_least_one());
        }
        let found: Vec<Argument> = words.iter().map(|word| arguments.argument(word)).collect::<Result<_>>()?;
        let keys: Vec<&str> = found.iter().map(|argument| &*argument.key.text).collect();
        self.describe("ARG", &keys, arguments, comments);
        Ok(found)
    }

    /// A comment right above a definition should describe it.
    fn describe(&mut self, instruction: &str, keys: &[&str], arguments: &Arguments<'_>, comments: &[String]) {
        let Some(first) = comments.last().and_then(|comment| comment.split(' ').next()) else { return };
        if keys.contains(&first) {
            return;
        }
        let key = if keys.len() > 1 { "<arg_key>" } else { keys.first().copied().unwrap_or_default() };
        let message = format!("Comment for {instruction} should follow the format: `# {key} <description>`");
        self.findings.report(Rule::InvalidDefinitionDescription, &arguments.keyword.span, comments, message);
    }
}

/// A stage's name, lower case.
fn stage_name(word: &Word) -> Result<Word> {
    let name = word.text.to_lowercase();
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    if valid {
        return Ok(Word { text: name, span: word.span.clone() });
    }
    let quoted = go_format::quote_short(&word.text);
    let message = format!("invalid name for build stage: {quoted}, name can't start with a number or contain symbols");
    Err(Diagnostic::error("invalid-stage-name", message, word.span.clone()).into())
}

impl<'a> Arguments<'a> {
    pub(super) fn text(&self) -> &'a str {
        &self.line[self.range.clone()]
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.keyword.text.eq_ignore_ascii_case(name)
    }

    fn name(&self) -> String {
        self.keyword.text.to_uppercase()
    }

    fn word(&self, range: Range<usize>) -> Word {
        let (start, end) = (self.range.start + range.start, self.range.start + range.end);
        Word { text: self.line[start..end].to_owned(), span: self.map.span(start..end) }
    }

    fn plain(&self) -> Vec<Word> {
        words::plain(self.text()).into_iter().map(|range| self.word(range)).collect()
    }

    fn quoted(&self) -> Vec<Word> {
        words::quoted(self.text(), self.escape).into_iter().map(|range| self.word(range)).collect()
    }

    fn wrong(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        let span = if self.range.is_empty() { self.keyword.span.clone() } else { self.map.span(self.range.clone()) };
        Diagnostic::error(code, message, span)
    }

    fn at_least_one(&self) -> Box<Diagnostic> {
        self.wrong("missing-argument", format!("{} requires at least one argument", self.name())).into()
    }

    pub(super) fn exactly_one(&self) -> Result<Word> {
        match self.text() {
            "" => Err(self.wrong("missing-argument", format!("{} requires exactly one argument", self.name())).into()),
            text => Ok(self.word(0..text.len())),
        }
    }

    pub(super) fn mixed_array(&self) -> Box<Diagnostic> {
        self.wrong("json-array", "when using JSON array syntax, arrays must be comprised of strings only").into()
    }

    /// Splits a word at its first `=`.
    fn split_pair(&self, word: &Word) -> Option<(Word, Word)> {
        let (key, value) = word.text.split_once('=')?;
        // Inside a continued word the parts cannot be told apart by length.
        let contiguous = word.span.len() == word.text.len();
        let (key_span, value_span) = if contiguous {
            (word.span.start..word.span.start + key.len(), word.span.start + key.len() + 1..word.span.end)
        } else {
            (word.span.clone(), word.span.clone())
        };
        Some((Word { text: key.to_owned(), span: key_span }, Word { text: value.to_owned(), span: value_span }))
    }

    fn argument(&self, word: &Word) -> Result<Argument> {
        match self.split_pair(word) {
            None => Ok(Argument { key: word.clone(), default: None }),
            Some((key, _)) if key.text.is_empty() => Err(self.blank(word)),
            Some((key, default)) => Ok(Argument { key, default: Some(default) }),
        }
    }

    fn blank(&self, word: &Word) -> Box<Diagnostic> {
        Diagnostic::error("blank-name", format!("{} names can not be blank", self.name()), word.span.clone()).into()
    }

    /// `k=v …` or `k rest of the line`.
    pub(super) fn pairs(&self, name: &str) -> Result<Vec<Pair>> {
        let words = self.quoted();
        let Some(first) = words.first() else { return Err(self.at_least_one()) };
        if !first.text.contains('=') {
            let (key, rest) = words::split_first(self.text());
            let Some(rest) = rest else {
                return Err(self.wrong("missing-argument", format!("{name} must have two arguments")).into());
            };
            return Ok(vec![Pair { key: self.word(key), value: self.word(rest), legacy: true }]);
        }
        words.iter().map(|word| self.pair(word)).collect()
    }

    fn pair(&self, word: &Word) -> Result<Pair> {
        match self.split_pair(word) {
            Some((key, _)) if key.text.is_empty() => Err(self.blank(word)),
            Some((key, value)) => Ok(Pair { key, value, legacy: false }),
            None => {
                let quoted = go_format::quote_short(&word.text);
                let message = format!("Syntax error - can't find = in {quoted}. Must be of the form: name=value");
                let hint = "quote a value that has spaces, or escape them";
                Err(Diagnostic::error("missing-equals", message, word.span.clone()).hint(hint).into())
            }
        }
    }

    pub(super) fn run(&self, flags: &Flags, heredocs: Vec<Heredoc>) -> Result<Run> {
        let command = self.command()?;
        if command == CommandLine::Exec(Vec::new()) {
            return Err(self.wrong("missing-argument", "arguments are required for RUN").into());
        }
        let mounts = flags.texts("mount");
        mounts.iter().try_for_each(mount_from_is_constant)?;
        let network = choose(flags, "network", |value| match value {
            "default" => Ok(Network::Default),
            "none" => Ok(Network::None),
            "host" => Ok(Network::Host),
            other => Err((format!("invalid network mode {}", go_format::quote_short(other)), &["default", "none", "host"][..])),
        })?;
        let security = choose(flags, "security", |value| match value {
            "sandbox" => Ok(Security::Sandbox),
            "insecure" => Ok(Security::Insecure),
            other => Err((format!("security {} is not valid", go_format::quote_short(other)), &["sandbox", "insecure"][..])),
        })?;
        Ok(Run { command, heredocs, mounts, network, security, devices: flags.texts("device") })
    }

    pub(super) fn transfer(&self, name: &str, flags: &Flags, heredocs: Vec<Heredoc>) -> Result<Transfer> {
        let mut all = match json::array(self.text()) {
            Array::Strings(texts) => {
                let span = self.map.span(self.range.clone());
                texts.into_iter().map(|text| Word { text, span: span.clone() }).collect()
            }
            Array::Mixed => return Err(self.mixed_array()),
            Array::No => self.plain(),
        };
        let Some(target) = all.pop().filter(|_| !all.is_empty()) else {
            let message =
                format!("{name} requires at least two arguments, but only one was provided. Destination could not be determined");
            return Err(self.wrong("missing-argument", message).into());
        };
        if heredoc::opening(&target.text).is_some() {
            let message = format!("{name} cannot accept a heredoc as a destination");
            return Err(Diagnostic::error("heredoc-destination", message, target.span).into());
        }
        let (mut sources, mut documents) = (Vec::new(), Vec::new());
        for word in all {
            match heredoc::opening(&word.text) {
                None => sources.push(word),
                Some(opening) => {
                    let read = heredocs.iter().rev().find(|heredoc| heredoc.opening.name == opening.name);
                    let content = read.map(|heredoc| heredoc.content.clone()).unwrap_or_default();
                    documents.push(Heredoc { opening, content });
                }
            }
        }
        Ok(Transfer {
            sources,
            documents,
            target,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            exclude: flags.texts("exclude"),
            link: flags.switch("link"),
            from: flags.text("from"),
            parents: flags.switch("parents"),
            keep_git_dir: flags.switch("keep-git-dir"),
            unpack: flags.switch("unpack"),
            checksum: flags.text("checksum"),
        })
    }

    pub(super) fn shell(&self) -> Result<Vec<String>> {
        match json::array(self.text()) {
            Array::Mixed => Err(self.mixed_array()),
            Array::Strings(words) if words.is_empty() => Err(self.at_least_one()),
            Array::Strings(words) => Ok(words),
            Array::No if self.range.is_empty() => Err(self.at_least_one()),
            Array::No => {
                let wrong = self.wrong("not-json", "SHELL requires the arguments to be in JSON form");
                Err(wrong.hint("SHELL [\"/bin/sh\", \"-c\"]").into())
            }
        }
    }

    pub(super) fn ports(&self) -> Result<Vec<Word>> {
        let mut ports = self.plain();
        ports.sort_by(|a, b| a.text.cmp(&b.text));
        if ports.is_empty() { Err(self.at_least_one()) } else { Ok(ports) }
    }

    pub(super) fn volumes(&self) -> Result<Vec<Word>> {
        let words = match json::array(self.text()) {
            Array::Mixed => return Err(self.mixed_array()),
            Array::Strings(texts) => {
                let span = self.map.span(self.range.clone());
                texts.into_iter().map(|text| Word { text: text.trim().to_owned(), span: span.clone() }).collect()
            }
            Array::No => self.plain(),
        };
        if words.is_empty() {
            return Err(self.at_least_one());
        }
        if words.iter().any(|word| word.text.is_empty()) {
            return Err(self.wrong("empty-volume", "VOLUME specified can not be an empty string").into());
        }
        Ok(words)
    }

    /// The trigger's text with its heredocs put back.
    pub(super) fn trigger(&self, heredocs: &[Heredoc]) -> Result<Word> {
        let (name, _) = words::split_first(self.text());
        match self.text()[name.clone()].to_ascii_uppercase().as_str() {
            "" => return Err(self.at_least_one()),
            "ONBUILD" => {
                return Err(self.wrong("onbuild-trigger", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed").into());
            }
            name @ ("MAINTAINER" | "FROM") => {
                return Err(self.wrong("onbuild-trigger", format!("{name} isn't allowed as an ONBUILD trigger")).into());
            }
            _ => {}
        }
        let rest = self.text()[name.end..].trim();
        if json::array(rest) == Array::Mixed {
            return Err(self.mixed_array());
        }
        let mut word = self.word(0..self.text().len());
        for heredoc in heredocs {
            word.text.extend(["\n", heredoc.content.as_str(), heredoc.opening.name.as_str()]);
        }
        Ok(word)
    }

    pub(super) fn healthcheck(&self, flags: &Flags) -> Result<Healthcheck> {
        let text = self.text();
        let kind_end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (kind, command) = (text[..kind_end].to_ascii_uppercase(), text[kind_end..].trim());
        let mut check = Healthcheck::default();
        match kind.as_str() {
            "" => return Err(self.at_least_one()),
            "NONE" if command.is_empty() => check.test = vec!["NONE".into()],
            "NONE" => return Err(self.wrong("healthcheck", "HEALTHCHECK NONE takes no arguments").into()),
            "CMD" => check.test = self.health_command(command)?,
            other => {
                let message = format!("Unknown type {} in HEALTHCHECK (try CMD)", go_format::quote_short(other));
                return Err(self.wrong("healthcheck", message).into());
            }
        }
        if kind == "CMD" {
            check.interval = interval(flags, "interval")?;
            check.timeout = interval(flags, "timeout")?;
            check.start_period = interval(flags, "start-period")?;
            check.start_interval = interval(flags, "start-interval")?;
            check.retries = retries(flags)?;
        }
        Ok(check)
    }

    fn health_command(&self, command: &str) -> Result<Vec<String>> {
        let (kind, words) = match self.command_of(command)? {
            CommandLine::Exec(words) => ("CMD", words),
            CommandLine::Shell(text) if text.is_empty() => ("CMD-SHELL", Vec::new()),
            CommandLine::Shell(text) => ("CMD-SHELL", vec![text]),
        };
        if words.is_empty() {
            return Err(self.wrong("healthcheck", "Missing command after HEALTHCHECK CMD").into());
        }
        Ok(std::iter::once(kind.to_owned()).chain(words).collect())
    }
}

fn interval(flags: &Flags, name: &str) -> Result<i64> {
    const LEAST: i64 = 1_000_000;
    let Some(word) = flags.text(name) else { return Ok(0) };
    let wrong = |message: String| Diagnostic::error("healthcheck", message, word.span.clone());
    match go_format::parse_duration(&word.text) {
        Err(message) => Err(wrong(message).hint("durations look like 30s, 1m30s or 500ms").into()),
        Ok(0) => Ok(0),
        Ok(short) if short < LEAST => Err(wrong(format!("Interval \"{name}\" cannot be less than 1ms")).into()),
        Ok(nanoseconds) => Ok(nanoseconds),
    }
}

fn retries(flags: &Flags) -> Result<i64> {
    let Some(word) = flags.text("retries") else { return Ok(0) };
    let wrong = |message: String| Err(Diagnostic::error("healthcheck", message, word.span.clone()).into());
    match word.text.parse::<i32>() {
        Ok(retries) if retries < 0 => wrong(format!("--retries cannot be negative ({retries})")),
        Ok(retries) => Ok(i64::from(retries)),
        Err(_) => wrong(format!("--retries is not a number: {}", go_format::quote_short(&word.text))),
    }
}

/// The source of a mount decides the order of stages, so it cannot depend on variables.
fn mount_from_is_constant(word: &Word) -> Result<()> {
    let from = word.text.split(',').filter_map(|field| field.split_once('=')).find(|(key, _)| key.eq_ignore_ascii_case("from"));
    match from.and_then(|(key, value)| Some((key, value, value.find('$')?))) {
        Some((key, value, at)) if at + 1 != value.len() => {
            let message = format!("'{key}' doesn't support variable expansion, define alias stage instead");
            Err(Diagnostic::error("mount", message, word.span.clone()).into())
        }
        Some(_) | None => Ok(()),
    }
}

type Choice<T> = std::result::Result<T, (String, &'static [&'static str])>;

/// A flag that takes one of some words.
fn choose<T>(flags: &Flags, name: &str, read: impl Fn(&str) -> Choice<T>) -> Result<Option<(T, crate::source::Span)>> {
    let Some(word) = flags.text(name) else { return Ok(None) };
    match read(&word.text) {
        Ok(choice) => Ok(Some((choice, word.span))),
        Err((message, options)) => {
            let suggestion = suggest::nearest(&word.text, options.iter().copied());
            Err(Diagnostic::error("flag-value", message, word.span).did_you_mean(suggestion).into())
        }
    }
}
