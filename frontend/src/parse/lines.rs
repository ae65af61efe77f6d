//! Physical lines, and logical lines joined from them, with the way back to the source.

use std::ops::Range;

use crate::source::Span;

/// Longest physical line that is accepted, in bytes without its line end (BuildKit's scanner).
pub(crate) const LONGEST_LINE: usize = 65535;

/// One physical line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Where it starts in the source.
    pub(super) start: usize,
    /// With its line end.
    pub(super) raw: &'a str,
}

impl<'a> Line<'a> {
    /// Without its line end.
    pub(super) fn text(&self) -> &'a str {
        self.raw.trim_end_matches(['\r', '\n'])
    }

    pub(super) fn is_comment(&self) -> bool {
        self.text().trim_start().starts_with('#')
    }

    pub(super) fn is_blank(&self) -> bool {
        self.text().trim_start().is_empty()
    }

    /// Where the text ends in the source.
    pub(super) fn end(&self) -> usize {
        self.start + self.text().len()
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.raw.strip_suffix('\n').unwrap_or(self.raw).len() > LONGEST_LINE
    }
}

/// Reads physical lines in order.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    /// Lines from `at` on.
    pub(super) fn new(text: &'a str, at: usize) -> Lines<'a> {
        Lines { text, at }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let line = Line { start: self.at, raw: &rest[..length] };
        self.at += length;
        Some(line)
    }
}

/// The line without its continuation mark, when it ends with one: the escape character, not itself escaped, then blanks.
pub(super) fn without_continuation(text: &str, escape: char) -> Option<&str> {
    let before = text.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

/// A line joined from its continuations.
#[derive(Clone, Debug)]
pub(super) struct Logical {
    pub(super) text: String,
    pub(super) map: SpanMap,
}

/// The way from positions in a logical line to the source.
#[derive(Clone, Debug)]
pub(super) enum SpanMap {
    /// Everything is here (ONBUILD triggers of a base image: at the FROM).
    Fixed(Span),
    /// Pieces: position in the text, position in the source.
    Pieces(Vec<(usize, usize)>),
}

impl Logical {
    pub(super) fn new(fixed: Option<&Span>) -> Logical {
        let map = fixed.map_or(SpanMap::Pieces(Vec::new()), |span| SpanMap::Fixed(span.clone()));
        Logical { text: String::new(), map }
    }

    /// Appends a piece that starts at `start` in the source.
    pub(super) fn push(&mut self, piece: &str, start: usize) {
        match &mut self.map {
            SpanMap::Fixed(_) => {}
            SpanMap::Pieces(pieces) => pieces.push((self.text.len(), start)),
        }
        self.text.push_str(piece);
    }
}

impl SpanMap {
    /// The source range of a range of the text.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        match self {
            SpanMap::Fixed(span) => span.clone(),
            SpanMap::Pieces(pieces) => {
                let start = locate(pieces, range.start);
                let end = if range.end > range.start { locate(pieces, range.end - 1) + 1 } else { start };
                start..end
            }
        }
    }
}

fn locate(pieces: &[(usize, usize)], at: usize) -> usize {
    let after = pieces.partition_point(|(text, _)| *text <= at);
    pieces.get(after.saturating_sub(1)).map_or(0, |(text, source)| source + at.saturating_sub(*text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuations_end_with_an_unescaped_escape() {
        for (text, escape, expected) in [
            ("RUN a \\", '\\', Some("RUN a ")),
            ("RUN a \\  \t", '\\', Some("RUN a ")),
            ("\\", '\\', Some("")),
            ("RUN a \\\\", '\\', None),
            ("RUN a \\\\\\", '\\', None),
            ("RUN a", '\\', None),
            ("RUN a `", '`', Some("RUN a ")),
            ("RUN a \\", '`', None),
        ] {
            assert_eq!(without_continuation(text, escape), expected, "{text}");
        }
    }

    #[test]
    fn positions_find_their_way_back() {
        let mut logical = Logical::new(None);
        logical.push("RUN a ", 10);
        logical.push("  b", 30);
        assert_eq!(logical.map.span(0..3), 10..13);
        assert_eq!(logical.map.span(8..9), 32..33);
        assert_eq!(logical.map.span(4..9), 14..33);
        assert_eq!(logical.map.span(6..6), 30..30);
        let fixed = Logical::new(Some(&(3..7)));
        assert_eq!(fixed.map.span(0..100), 3..7);
    }
}
