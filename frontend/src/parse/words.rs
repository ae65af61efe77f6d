//! Words of an argument text: by blanks alone, or by blanks with quotes respected.

use std::ops::Range;

/// Blanks between words (not every white space that is cut at the ends).
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// Words between blanks; quotes mean nothing.
pub(super) fn plain(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        match (is_blank(c), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            (true, None) | (false, Some(_)) => {}
        }
    }
    words.extend(start.map(|from| from..text.len()));
    words
}

/// Words between white space, except inside quotes; quotes and escapes stay in them.
pub(super) fn quoted(text: &str, escape: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                words.extend(start.take().map(|from| from..at));
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            None | Some(_) => {}
        }
        start.get_or_insert(at);
        let escapes = c == escape && quote != Some('\'');
        if escapes && chars.next().is_none() {
            end = at;
        }
    }
    words.extend(start.filter(|from| *from < end).map(|from| from..end));
    words
}

/// The first word and the rest after the blanks, if there is a rest.
pub(super) fn split_first(text: &str) -> (Range<usize>, Option<Range<usize>>) {
    let Some(end) = text.find(is_blank) else { return (0..text.len(), None) };
    let rest = text[end..].find(|c| !is_blank(c)).map_or(text.len(), |at| end + at);
    (0..end, Some(rest..text.len()))
}

/// A range without the white space at its ends.
pub(super) fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = &text[range.clone()];
    let start = range.start + piece.len() - piece.trim_start().len();
    start..start + piece.trim().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, ranges: Vec<Range<usize>>) -> Vec<&str> {
        ranges.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn words_keep_quotes_and_escapes() {
        for (text, expected) in [
            ("a b\tc", &["a", "b", "c"][..]),
            (r#"a="b c" d='e f'"#, &[r#"a="b c""#, "d='e f'"]),
            (r"a=b\ c d", &[r"a=b\ c", "d"]),
            (r#"a="b\" c" d"#, &[r#"a="b\" c""#, "d"]),
            (r"a='b\' c", &[r"a='b\'", "c"]),
            (r"a=b \", &["a=b"]),
            (r"a=b\", &["a=b"]),
            (r#"a="b \"#, &[r#"a="b "#]),
            (r#"a="unclosed b"#, &[r#"a="unclosed b"#]),
            ("a=\u{a0}b", &["a=", "b"]),
            ("", &[]),
        ] {
            assert_eq!(texts(text, quoted(text, '\\')), expected, "{text}");
        }
    }

    #[test]
    fn plain_words_know_no_quotes() {
        assert_eq!(texts("\"a b\" \t c", plain("\"a b\" \t c")), ["\"a", "b\"", "c"]);
        assert!(plain("").is_empty());
    }

    #[test]
    fn the_first_word_is_split_off() {
        assert_eq!(split_first("key  the rest"), (0..3, Some(5..13)));
        assert_eq!(split_first("key"), (0..3, None));
        assert_eq!(trimmed("  a b ", 0..6), 2..5);
    }
}
