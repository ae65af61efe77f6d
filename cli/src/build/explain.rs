//! A build's errors and warnings in words: the excerpt of the Dockerfile, the last output of the step, the class.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::ops::Range;

use rbuild_builder::BuildError;
use rbuild_frontend::{Diagnostic, Severity, Source};
use rbuild_worker::{ErrorClass, WorkError};

use crate::environment;
use crate::failure::{Class, Failure, is_broken_pipe};
use crate::progress::FailedStep;

/// What the cli says about a build that failed.
pub(super) fn failure(source: &Source, error: BuildError, failed: &[FailedStep]) -> Failure {
    let excerpt = excerpt(source, &error, failed);
    let hint = error.hint();
    // Without a registry client, it is the Dockerfile that asks for what there cannot be.
    let not_found = matches!(error, BuildError::ImageNotFound { .. });
    let unread = matches!(&error, BuildError::Export { source, .. } if is_broken_pipe(source));
    let class = match (not_found, unread) {
        (true, _) => Class::Dockerfile,
        (false, true) => Class::Pipe,
        (false, false) => class(error.class()),
    };
    let run_code = run_code(&error);
    let mut failure = Failure::new(class, error).excerpt(excerpt).maybe_hint(hint);
    failure.run_code = run_code;
    failure
}

/// What is shown of the Dockerfile and of the step's output before the message.
fn excerpt(source: &Source, error: &BuildError, failed: &[FailedStep]) -> String {
    match error {
        BuildError::Dockerfile { source_text, diagnostics } => rbuild_frontend::render(source_text, diagnostics, color()),
        BuildError::Step { name, lines, source: cause } => {
            let output = failed.iter().find(|step| step.name == *name && !step.lines.is_empty()).map(last_output);
            output.unwrap_or_default() + &marked(source, *lines, "step-failed", cause.to_string())
        }
        BuildError::ImageNotFound { reference, span, .. } | BuildError::Image { reference, span, .. } => {
            at(source, span.clone(), "image", format!("`{reference}` is needed here"))
        }
        BuildError::Cancelled
        | BuildError::Reference(_)
        | BuildError::Context { .. }
        | BuildError::Export { .. }
        | BuildError::Store { .. }
        | BuildError::Records(_)
        | BuildError::Internal(_) => String::new(),
    }
}

fn run_code(error: &BuildError) -> Option<i32> {
    let BuildError::Step { source, .. } = error else { return None };
    if let WorkError::Process { code, .. } = source.as_ref() { *code } else { None }
}

/// Lines of the Dockerfile with a message.
fn marked(source: &Source, lines: Option<(u32, u32)>, code: &'static str, message: String) -> String {
    let span = lines.and_then(|lines| span_of(source, lines));
    span.map_or_else(String::new, |span| at(source, span, code, message))
}

/// Bytes of the Dockerfile with a message.
fn at(source: &Source, span: Range<usize>, code: &'static str, message: String) -> String {
    let diagnostic = Diagnostic { severity: Severity::Error, code, message, span: Some(span), hint: None };
    rbuild_frontend::render(source, &[diagnostic], color())
}

fn class(class: ErrorClass) -> Class {
    match class {
        ErrorClass::Internal => Class::Internal,
        ErrorClass::Dockerfile => Class::Dockerfile,
        ErrorClass::Run => Class::Step,
        ErrorClass::Auth => Class::Denied,
        ErrorClass::Network => Class::Network,
        ErrorClass::Storage => Class::Storage,
        ErrorClass::Cancelled => Class::Cancelled,
    }
}

/// As BuildKit frames it.
fn last_output(step: &FailedStep) -> String {
    let mut text = format!("------\n > {}:\n", step.name);
    for line in &step.lines {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("------\n");
    text
}

/// Bytes of lines `first..=last` (from 1), without the last line's newline.
fn span_of(source: &Source, (first, last): (u32, u32)) -> Option<Range<usize>> {
    let mut start = None;
    let mut at = 0;
    for (number, line) in (1..).zip(source.text.split_inclusive('\n')) {
        if number == first {
            start = Some(at);
        }
        let end = at + line.trim_end_matches(['\n', '\r']).len();
        if number == last {
            return start.map(|start| start..end);
        }
        at += line.len();
    }
    start.map(|start| start..source.text.trim_end().len().max(start))
}

/// The summary of warnings at the end, as docker has it; with `--debug`, each with its excerpt.
pub(super) fn warnings(source: &Source, warnings: &[Diagnostic], debug: bool) -> String {
    if debug {
        return rbuild_frontend::render(source, warnings, color()).trim_end().to_owned();
    }
    let mut text = match warnings.len() {
        1 => "\n 1 warning found (use --debug to expand):".to_owned(),
        count => format!("\n {count} warnings found (use --debug to expand):"),
    };
    for warning in warnings {
        let line = warning.span.as_ref().map(|span| format!(" (line {})", rbuild_frontend::lines(source, span).0));
        // Writing to a string cannot fail.
        let _infallible = write!(text, "\n - {}: {}{}", warning.code, warning.message, line.unwrap_or_default());
    }
    text
}

fn color() -> bool {
    io::stderr().is_terminal() && !environment::no_color()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source { name: "Dockerfile".to_owned(), text: "FROM x\nRUN a \\\n  b\nCMD c".to_owned() }
    }

    #[test]
    fn lines_become_bytes() {
        let source = source();
        let text = |lines| span_of(&source, lines).map(|span| &source.text[span]);
        assert_eq!(text((1, 1)), Some("FROM x"));
        assert_eq!(text((2, 3)), Some("RUN a \\\n  b"));
        assert_eq!(text((4, 4)), Some("CMD c"));
        assert_eq!(text((4, 9)), Some("CMD c"));
        assert_eq!(text((7, 8)), None);
    }

    #[test]
    fn a_failed_run_has_its_class_and_code() {
        let cause = WorkError::Process {
            command: "/bin/sh -c a".to_owned(),
            outcome: "exit code: 7".to_owned(),
            code: Some(7),
            oom: false,
        };
        let error = BuildError::Step { name: "[2/2] RUN a".to_owned(), lines: None, source: Box::new(cause) };
        let failure = failure(&source(), error, &[]);
        assert_eq!((failure.class, failure.run_code), (Class::Step, Some(7)));
    }

    #[test]
    fn the_last_output_is_framed() {
        let step = FailedStep { name: "[2/2] RUN a".to_owned(), lines: vec!["0.1 one".to_owned(), "0.2 two".to_owned()] };
        assert_eq!(last_output(&step), "------\n > [2/2] RUN a:\n0.1 one\n0.2 two\n------\n");
    }
}
