//! Diagnostics as text, in rustc's look.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::{Diagnostic, Severity, Source};

/// Lines longer than this are not shown: a generated file would fill the screen.
const LONGEST_EXCERPT: usize = 4096;

/// Renders like rustc (annotate-snippets): file, line, column, excerpt, caret, hint.
#[must_use]
pub fn render(source: &Source, diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let rendered: Vec<String> = diagnostics.iter().map(|diagnostic| render_one(&renderer, source, diagnostic)).collect();
    rendered.join("\n\n")
}

fn render_one(renderer: &Renderer, source: &Source, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = match diagnostic.severity {
        Severity::Error => level.primary_title(&*diagnostic.message),
        Severity::Warning => level.primary_title(&*diagnostic.message).id(diagnostic.code),
    };
    let mut group = Group::with_title(title);
    if let Some(excerpt) = diagnostic.span.as_ref().and_then(|span| Excerpt::around(&source.text, span)) {
        let annotation = AnnotationKind::Primary.span(excerpt.span.clone());
        let snippet =
            Snippet::source(excerpt.text).line_start(excerpt.line).path(&*source.name).fold(true).annotation(annotation);
        group = group.element(snippet);
    } else {
        group = group.element(Origin::path(&*source.name));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(&**hint));
    }
    renderer.render(&[group])
}

/// The lines that a span touches: the renderer's work does not depend on the size of the file.
struct Excerpt<'a> {
    text: &'a str,
    line: usize,
    span: std::ops::Range<usize>,
}

impl<'a> Excerpt<'a> {
    fn around(text: &'a str, span: &std::ops::Range<usize>) -> Option<Excerpt<'a>> {
        let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (start, end) = (boundary(span.start), boundary(span.end.max(span.start)));
        let first = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let last = text[end.max(start)..].find('\n').map_or(text.len(), |at| end.max(start) + at);
        let line = text[..first].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let shown = text.get(first..last)?;
        let first_line_end = shown.find('\n').unwrap_or(shown.len());
        if shown.len() <= LONGEST_EXCERPT {
            return Some(Excerpt { text: shown, line, span: start - first..end.max(start) - first });
        }
        if first_line_end <= LONGEST_EXCERPT {
            let clipped = &shown[..first_line_end];
            return Some(Excerpt { text: clipped, line, span: (start - first).min(clipped.len())..clipped.len() });
        }
        None
    }
}
