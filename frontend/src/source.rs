//! The text of a Dockerfile and positions in it.

use std::ops::Range;

/// A byte range of the source text.
pub(crate) type Span = Range<usize>;

/// A Dockerfile's text with the name shown in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path or name, shown in messages only.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// First and last line (from 1) of a span.
#[must_use]
pub fn lines(source: &Source, span: &Range<usize>) -> (u32, u32) {
    LineIndex::new(&source.text).lines(span)
}

/// Where each line starts.
#[derive(Clone, Debug)]
pub(crate) struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    pub(crate) fn new(text: &str) -> LineIndex {
        let after_newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        LineIndex { starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// First and last line of a span, from 1. The end is exclusive.
    pub(crate) fn lines(&self, span: &Span) -> (u32, u32) {
        let last = span.end.saturating_sub(1).max(span.start);
        (self.line(span.start), self.line(last))
    }

    fn line(&self, at: usize) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= at)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_lines() {
        let source = Source { name: "Dockerfile".into(), text: "FROM a\nRUN b \\\n  c\n".into() };
        for (span, expected) in
            [(0..6, (1, 1)), (0..7, (1, 1)), (7..18, (2, 3)), (7..7, (2, 2)), (19..19, (4, 4)), (90..95, (4, 4))]
        {
            assert_eq!(lines(&source, &span), expected, "{span:?}");
        }
    }
}
