//! One logical line to one typed instruction.

use super::arguments::Arguments;
use super::flags::{self, Flags, Kind as Takes, Known};
use super::json::{self, Array};
use super::lines::Lines;
use super::{Parser, Statement, heredoc, words};
use crate::diagnostic::Diagnostic;
use crate::instruction::{CommandLine, Heredoc, Instruction, Kind, Word};
use crate::lint::Rule;
use crate::suggest;

/// Names of instructions, for suggestions.
const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const NO_FLAGS: Known = &[];
const FROM_FLAGS: Known = &[("platform", Takes::Text)];
const RUN_FLAGS: Known =
    &[("mount", Takes::Repeated), ("network", Takes::Text), ("security", Takes::Text), ("device", Takes::Repeated)];
const COPY_FLAGS: Known = &[
    ("chown", Takes::Text),
    ("from", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Switch),
    ("exclude", Takes::Repeated),
    ("parents", Takes::Switch),
];
const ADD_FLAGS: Known = &[
    ("chown", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Switch),
    ("keep-git-dir", Takes::Switch),
    ("checksum", Takes::Text),
    ("unpack", Takes::Switch),
    ("exclude", Takes::Repeated),
];
const HEALTHCHECK_FLAGS: Known = &[
    ("interval", Takes::Text),
    ("timeout", Takes::Text),
    ("start-period", Takes::Text),
    ("start-interval", Takes::Text),
    ("retries", Takes::Text),
];

impl Parser {
    /// Types a statement; a mistake is reported and the instruction left out.
    pub(super) fn instruction(&mut self, statement: Statement, lines: &mut Lines<'_>) {
        let Statement { logical, mut span, comments } = statement;
        let line = &logical.text;
        let whole = words::trimmed(line, 0..line.len());
        let code = line[whole.clone()].to_owned();
        let (name, rest) = words::split_first(&code);
        let keyword = Word {
            text: code[name.clone()].to_owned(),
            span: logical.map.span(whole.start + name.start..whole.start + name.end),
        };
        let rest = rest.map_or(whole.end..whole.end, |rest| whole.start + rest.start..whole.start + rest.end);
        let (flag_words, used) = flags::split(&line[rest.clone()], rest.start, self.escape, &logical.map);
        let range = words::trimmed(line, rest.start + used..rest.end);
        let arguments = Arguments { line, range, map: &logical.map, keyword: &keyword, escape: self.escape };
        let openings = if takes_heredocs(&arguments) { heredoc::openings(line) } else { Vec::new() };
        let Some(heredocs) = self.bodies(openings, &mut span, lines) else { return };
        let kind = self.kind(&arguments, &flag_words, heredocs, &comments);
        let span = self.place(span);
        self.instructions.extend(kind.map(|kind| Instruction { keyword, span, code, comments, kind }));
    }

    fn kind(
        &mut self,
        arguments: &Arguments<'_>,
        flag_words: &[Word],
        heredocs: Vec<Heredoc>,
        comments: &[String],
    ) -> Option<Kind> {
        let name = arguments.keyword.text.to_ascii_uppercase();
        let known = match name.as_str() {
            "FROM" => FROM_FLAGS,
            "RUN" => RUN_FLAGS,
            "COPY" => COPY_FLAGS,
            "ADD" => ADD_FLAGS,
            "HEALTHCHECK" => HEALTHCHECK_FLAGS,
            // A trigger's flags are its own.
            "ONBUILD" => NO_FLAGS,
            name if NAMES.contains(&name) => NO_FLAGS,
            _ => {
                let message = format!("unknown instruction: {}", arguments.keyword.text);
                let suggestion = suggest::nearest_keyword(&arguments.keyword.text, NAMES);
                let unknown = Diagnostic::error("unknown-instruction", message, arguments.keyword.span.clone());
                self.diagnostics.push(unknown.did_you_mean(suggestion));
                return None;
            }
        };
        let flags = flags::check(flag_words, known, &mut self.diagnostics);
        let flags_ok = flags.is_some();
        let kind = self.typed(&name, arguments, &flags.unwrap_or_default(), heredocs, comments);
        match kind {
            Ok(kind) => kind.filter(|_| flags_ok),
            Err(diagnostic) => {
                self.diagnostics.push(*diagnostic);
                None
            }
        }
    }

    fn typed(
        &mut self,
        name: &str,
        arguments: &Arguments<'_>,
        flags: &Flags,
        heredocs: Vec<Heredoc>,
        comments: &[String],
    ) -> Result<Option<Kind>, Box<Diagnostic>> {
        Ok(Some(match name {
            "FROM" => Kind::From(self.from(arguments, flags, comments)?),
            "ARG" => Kind::Arg(self.args(arguments, comments)?),
            "ENV" => Kind::Env(arguments.pairs("ENV")?),
            "LABEL" => Kind::Label(arguments.pairs("LABEL")?),
            "RUN" => Kind::Run(arguments.run(flags, heredocs)?),
            "COPY" => Kind::Copy(arguments.transfer("COPY", flags, heredocs)?),
            "ADD" => Kind::Add(arguments.transfer("ADD", flags, heredocs)?),
            "CMD" => Kind::Cmd(arguments.command()?),
            "ENTRYPOINT" => Kind::Entrypoint(arguments.command()?),
            "SHELL" => Kind::Shell(arguments.shell()?),
            "HEALTHCHECK" => Kind::Healthcheck(arguments.healthcheck(flags)?),
            "EXPOSE" => Kind::Expose(arguments.ports()?),
            "VOLUME" => Kind::Volume(arguments.volumes()?),
            "USER" => Kind::User(arguments.exactly_one()?),
            "WORKDIR" => Kind::Workdir(arguments.exactly_one()?),
            "STOPSIGNAL" => Kind::StopSignal(arguments.exactly_one()?),
            "ONBUILD" => Kind::Onbuild(arguments.trigger(&heredocs)?),
            _ => {
                let span = &arguments.keyword.span;
                let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
                self.findings.report(Rule::MaintainerDeprecated, span, comments, message);
                Kind::Maintainer(arguments.exactly_one()?)
            }
        }))
    }
}

/// RUN, COPY and ADD in their shell forms, also as triggers.
fn takes_heredocs(arguments: &Arguments<'_>) -> bool {
    let text = arguments.text();
    if !arguments.line.contains("<<") {
        return false;
    }
    if arguments.is("ONBUILD") {
        let (name, rest) = words::split_first(text);
        let (name, rest) = (&text[name], rest.map_or("", |rest| &text[rest]));
        let (_, used) = flags::split(rest, 0, arguments.escape, &super::lines::SpanMap::Fixed(0..0));
        return is_heredoc_name(name) && json::array(rest[used..].trim()) == Array::No;
    }
    is_heredoc_name(&arguments.keyword.text) && json::array(text) == Array::No
}

fn is_heredoc_name(name: &str) -> bool {
    ["RUN", "COPY", "ADD"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

impl Arguments<'_> {
    /// A command in exec or shell form.
    pub(super) fn command(&self) -> Result<CommandLine, Box<Diagnostic>> {
        self.command_of(self.text())
    }

    pub(super) fn command_of(&self, text: &str) -> Result<CommandLine, Box<Diagnostic>> {
        match json::array(text) {
            Array::Strings(words) => Ok(CommandLine::Exec(words)),
            Array::No => Ok(CommandLine::Shell(text.to_owned())),
            Array::Mixed => Err(self.mixed_array()),
        }
    }
}
