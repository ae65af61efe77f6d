//! Text to instructions: lines, directives, heredocs, and one typed instruction for each logical line.

mod arguments;
mod directives;
mod flags;
mod heredoc;
mod json;
mod lines;
mod typed;
mod words;

pub(crate) use directives::{Directives, check_comment};
pub(crate) use heredoc::{Opening, opening};

use directives::Zone;
use lines::{Line, Lines, Logical};

use crate::diagnostic::Diagnostic;
use crate::instruction::{Heredoc, Instruction};
use crate::lint::{Findings, Rule};
use crate::source::{LineIndex, Source, Span};

/// After so many mistakes the file is no Dockerfile, and the rest is not read.
const MOST_MISTAKES: usize = 100;

/// A parsed file (all it could understand).
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// What was parsed.
    pub source: Source,
    pub(crate) directives: Directives,
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) findings: Findings,
    pub(crate) lines: LineIndex,
}

/// Parses; never stops at the first mistake. Warnings are kept for lowering, which knows the options that choose them.
#[must_use]
pub fn parse(source: Source) -> (Dockerfile, Vec<Diagnostic>) {
    let body = source.text.strip_prefix('\u{feff}').map_or(0, |rest| source.text.len() - rest.len());
    let mut directives = directives::detect(&source.text, body);
    if let Some(foreign) = directives.syntax.as_ref().and_then(|syntax| foreign_frontend(&syntax.text, Some(syntax.span.clone())))
    {
        let lines = LineIndex::new(&source.text);
        let file = Dockerfile { source, directives, instructions: Vec::new(), findings: Findings::default(), lines };
        return (file, vec![foreign]);
    }
    let mut parser = Parser::new(None);
    parser.file(&source.text, body);
    directives.escape = parser.escape;
    if parser.instructions.is_empty() && parser.diagnostics.is_empty() {
        let (code, message) = match source.text.is_empty() {
            true => ("empty-file", "the Dockerfile cannot be empty"),
            false => ("no-instructions", "file with no instructions"),
        };
        parser.diagnostics.push(Diagnostic::whole(code, message));
    }
    parser.diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.start));
    parser.diagnostics.truncate(MOST_MISTAKES);
    let lines = LineIndex::new(&source.text);
    let Parser { diagnostics, instructions, findings, .. } = parser;
    (Dockerfile { source, directives, instructions, findings, lines }, diagnostics)
}

/// Parses the ONBUILD trigger of a base; every span is the one given.
pub(crate) fn parse_trigger(text: &str, span: &Span) -> Result<Instruction, Vec<Diagnostic>> {
    let mut parser = Parser::new(Some(span.clone()));
    parser.file(text, 0);
    if parser.diagnostics.is_empty() && parser.instructions.len() != 1 {
        let message = "onbuild trigger should be a single expression";
        parser.diagnostics.push(Diagnostic::error("onbuild-trigger", message, span.clone()));
    }
    match parser.instructions.pop() {
        Some(instruction) if parser.diagnostics.is_empty() => Ok(instruction),
        Some(_) | None => {
            let hint = format!("(in the trigger `{}` of the base)", text.lines().next().unwrap_or_default());
            let with_hint = |diagnostic: Diagnostic| match &diagnostic.hint {
                Some(before) => diagnostic.clone().hint(format!("{before} {hint}")),
                None => diagnostic.hint(hint.clone()),
            };
            Err(parser.diagnostics.into_iter().map(with_hint).collect())
        }
    }
}

/// A frontend that is not this one; `docker/dockerfile` in any version is.
pub(crate) fn foreign_frontend(value: &str, span: Option<Span>) -> Option<Diagnostic> {
    let reference = value.split(' ').next().unwrap_or_default();
    let path = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let name = path.split(['@', ':']).next().unwrap_or_default();
    if matches!(name, "" | "dockerfile.v0" | "docker/dockerfile" | "docker/dockerfile-upstream") {
        return None;
    }
    let message = format!("the frontend `{reference}` is not supported");
    let hint = "rbuild understands the Dockerfile syntax itself; frontends are not run as images";
    let foreign = Diagnostic::whole("foreign-frontend", message).hint(hint);
    Some(Diagnostic { span, ..foreign })
}

struct Parser {
    escape: char,
    zone: Zone,
    comments: Vec<String>,
    instructions: Vec<Instruction>,
    diagnostics: Vec<Diagnostic>,
    findings: Findings,
    fixed: Option<Span>,
}

/// A logical line with what belongs to it, before it is typed.
struct Statement {
    logical: Logical,
    span: Span,
    comments: Vec<String>,
}

impl Parser {
    fn new(fixed: Option<Span>) -> Parser {
        Parser {
            escape: '\\',
            zone: Zone::new("#"),
            comments: Vec::new(),
            instructions: Vec::new(),
            diagnostics: Vec::new(),
            findings: Findings::default(),
            fixed,
        }
    }

    fn place(&self, span: Span) -> Span {
        self.fixed.clone().unwrap_or(span)
    }

    fn error(&mut self, code: &'static str, message: impl Into<String>, span: Span) {
        let span = self.place(span);
        self.diagnostics.push(Diagnostic::error(code, message, span));
    }

    fn file(&mut self, text: &str, start: usize) {
        let mut lines = Lines::new(text, start);
        while let Some(line) = lines.next().filter(|_| self.diagnostics.len() < MOST_MISTAKES) {
            self.check_length(&line);
            let trimmed = line.text().trim_start();
            let at = line.end() - trimmed.len();
            let mut escape = self.escape;
            let directive = match self.zone.take(trimmed, at, &mut escape) {
                Ok(directive) => directive,
                Err(diagnostic) => {
                    let span = diagnostic.span.clone().unwrap_or_default();
                    self.diagnostics.push(Diagnostic { span: Some(self.place(span)), ..diagnostic });
                    true
                }
            };
            self.escape = escape;
            if trimmed.starts_with('#') {
                if !directive {
                    self.comment(&line);
                }
                continue;
            }
            if let Some(statement) = self.statement(trimmed, at, &mut lines) {
                self.instruction(statement, &mut lines);
            }
        }
    }

    fn comment(&mut self, line: &Line<'_>) {
        match directives::comment_text(line) {
            "" => self.comments.clear(),
            text => self.comments.push(text.to_owned()),
        }
    }

    fn check_length(&mut self, line: &Line<'_>) {
        if line.is_too_long() {
            let message = format!("dockerfile line greater than max allowed size of {}", lines::LONGEST_LINE);
            self.error("line-too-long", message, line.start..line.start + 1);
        }
    }

    /// Joins the continuations of a line. `None` for a blank one.
    fn statement(&mut self, first: &str, at: usize, lines: &mut Lines<'_>) -> Option<Statement> {
        let mut logical = Logical::new(self.fixed.as_ref());
        let mut open = lines::without_continuation(first, self.escape);
        logical.push(open.unwrap_or(first), at);
        if open.is_none() && first.is_empty() {
            return None;
        }
        let mut end = at + first.len();
        let mut empty: Option<Span> = None;
        while open.is_some() {
            let Some(line) = lines.next() else { break };
            self.check_length(&line);
            if line.is_comment() {
                continue;
            }
            if line.is_blank() {
                empty.get_or_insert(line.start..line.end());
                continue;
            }
            open = lines::without_continuation(line.text(), self.escape);
            logical.push(open.unwrap_or(line.text()), line.start);
            end = line.end();
        }
        let comments = std::mem::take(&mut self.comments);
        if let Some(span) = empty {
            let span = self.place(span);
            self.findings.report(Rule::NoEmptyContinuation, &span, &comments, "Empty continuation line".into());
        }
        Some(Statement { logical, span: at..end, comments })
    }

    /// Bodies of the heredocs that were begun, from the lines that follow.
    fn bodies(&mut self, openings: Vec<Opening>, span: &mut Span, lines: &mut Lines<'_>) -> Option<Vec<Heredoc>> {
        let mut heredocs = Vec::with_capacity(openings.len());
        for opening in openings {
            let mut content = String::new();
            let ended = loop {
                let Some(line) = lines.next() else { break false };
                self.check_length(&line);
                span.end = line.end();
                if heredoc::ends(&opening, line.text()) {
                    break true;
                }
                content.push_str(line.raw);
            };
            if !ended {
                let hint = format!("the heredoc ends with a line that is only `{}`", opening.name);
                let place = self.place(span.start..span.start + 1);
                self.diagnostics.push(Diagnostic::error("unterminated-heredoc", "unterminated heredoc", place).hint(hint));
                return None;
            }
            heredocs.push(Heredoc { opening, content });
        }
        Some(heredocs)
    }
}

#[cfg(test)]
mod tests;
