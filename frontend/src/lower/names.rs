//! Names of steps as BuildKit shows them: `[build 2/4] RUN make`.

use rbuild_graph::VertexMeta;

use super::state::Environment;
use crate::expand::Lexer;

/// Numbers the steps of a stage.
pub(super) struct Counter {
    title: String,
    index: usize,
    total: usize,
    /// Whether the current step is a trigger.
    pub(super) trigger: bool,
}

impl Counter {
    pub(super) fn new(title: String, total: usize) -> Counter {
        Counter { title, index: 0, total, trigger: false }
    }

    /// The stage's name or number; empty when it is alone.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Metadata of the next step.
    pub(super) fn meta(&mut self, text: &str, ignore_cache: bool) -> VertexMeta {
        self.index += 1;
        let (index, total) = (self.index, self.total.max(self.index));
        let width = total.to_string().len();
        let stage = if self.title.is_empty() { String::new() } else { format!("{} ", self.title) };
        let trigger = if self.trigger { "ONBUILD " } else { "" };
        let name = format!("[{stage}{index:width$}/{total}] {trigger}{text}");
        VertexMeta { name, lines: None, ignore_cache, stage: self.title.clone() }
    }
}

/// An instruction with its variables filled in and its name in capitals.
pub(super) fn shown(code: &str, lexer: Lexer, env: &Environment) -> String {
    let text = lexer.word(code, env).map_or_else(|_error| code.to_owned(), |expanded| expanded.text);
    match text.split_once(' ') {
        Some((name, rest)) => format!("{} {rest}", name.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// The first line of a heredoc.
pub(super) fn summary(body: &str) -> String {
    let body = body.trim();
    let mut lines = body.lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first}...") } else { first.to_owned() }
}
