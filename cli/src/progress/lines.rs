//! Cutting a stream of output into lines, and BuildKit's times before them.

/// Longest piece that waits for its newline.
const LONGEST: usize = 64 * 1024;

/// Collects bytes and gives whole lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Adds bytes; calls `line` for each line that is complete, without its newline.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            let complete = piece.ends_with(b"\n");
            if complete {
                self.partial.pop();
            }
            if complete || self.partial.len() >= LONGEST {
                line(&self.partial);
                self.partial.clear();
            }
        }
    }

    /// What is left without a newline.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }
}

/// Seconds as BuildKit writes them before a line: four significant digits, cut to five characters: `0.123`, `12.34`, `123.4`.
#[allow(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn seconds(nanoseconds: i64) -> String {
    let value = nanoseconds.max(0) as f64 / 1e9;
    let whole = format!("{}", value.trunc()).len();
    let text = format!("{value:.*}", 4_usize.saturating_sub(whole).max(1));
    text.chars().take(5).collect::<String>().trim_end_matches('.').to_owned()
}

/// Seconds with one digit: `0.1s`.
#[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
pub(crate) fn tenths(nanoseconds: i64) -> String {
    format!("{:.1}s", nanoseconds.max(0) as f64 / 1e9)
}

/// What a terminal may be shown of a program's line: what follows the last carriage return, without control sequences.
pub(crate) fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or(text);
    let mut shown = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => skip_sequence(&mut letters),
            '\t' => shown.push_str("    "),
            letter if letter.is_control() => {}
            letter => shown.push(letter),
        }
    }
    shown
}

/// Skips what follows an escape: a control sequence up to its final letter, or one character.
fn skip_sequence(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if letters.next() == Some('[') {
        for letter in letters.by_ref() {
            if ('@'..='~').contains(&letter) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_newlines_only() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for bytes in [&b"a\nb"[..], b"c\n\nd", b""] {
            lines.push(bytes, |line| found.push(line.to_vec()));
        }
        assert_eq!(found, [&b"a"[..], b"bc", b""]);
        lines.finish(|line| found.push(line.to_vec()));
        lines.finish(|_| panic!("nothing is left"));
        assert_eq!(found[3], b"d");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        let mut count = 0;
        lines.push(&vec![b'x'; 10 * LONGEST], |_| count += 1);
        assert_eq!(count, 1);
    }

    #[test]
    fn times_are_buildkits() {
        for (nanoseconds, text) in [
            (0, "0.000"),
            (123_456_789, "0.123"),
            (1_234_567_890, "1.235"),
            (12_345_678_900, "12.35"),
            (123_456_789_000, "123.5"),
            (1_234_567_890_000, "1234."),
            (-5, "0.000"),
        ] {
            assert_eq!(seconds(nanoseconds), text.trim_end_matches('.'), "{nanoseconds}");
        }
        assert_eq!(tenths(149_000_000), "0.1s");
    }

    #[test]
    fn a_program_cannot_move_the_cursor() {
        assert_eq!(printable(b"10%\r50%\r100%\r"), "100%");
        assert_eq!(printable(b"\x1b[31mred\x1b[0m\x1b[2J \x1bcx\x07\ty"), "red x    y");
    }
}
