//! Heredocs: which words of a line begin one, and how its body is read (spec §1.3).

use crate::expand::{Lexer, Nothing, Quotes};
use crate::instruction::Heredoc;

/// The beginning of a heredoc: `3<<-"EOF"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The delimiter.
    pub(crate) name: String,
    /// Whether variables in the body are expanded: no part of the delimiter was quoted.
    pub(crate) expand: bool,
    /// Whether leading tabs are cut (`<<-`).
    pub(crate) chomp: bool,
}

/// The word as the beginning of a heredoc, if it is one.
pub(crate) fn opening(word: &str) -> Option<Opening> {
    let after_digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = after_digits.strip_prefix("<<")?;
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let name = single_word(rest, Quotes::Remove)?;
    let raw = single_word(rest, Quotes::Keep)?;
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Some(Opening { expand: quotes(&name) == quotes(&raw), name, chomp })
}

fn single_word(text: &str, quotes: Quotes) -> Option<String> {
    let lexer = Lexer { quotes, keep_unset: true, ..Lexer::new('\\') };
    let mut words = lexer.words(text, &Nothing).ok()?.words;
    if words.len() == 1 { words.pop() } else { None }
}

/// All heredocs that a line begins, in order. A line whose quotes do not match has none.
pub(super) fn openings(line: &str) -> Vec<Opening> {
    let lexer = Lexer { quotes: Quotes::Keep, keep_escapes: true, keep_unset: true, ..Lexer::new('\\') };
    let Ok(expanded) = lexer.words(line, &Nothing) else { return Vec::new() };
    expanded.words.iter().filter_map(|word| opening(word)).collect()
}

/// Whether a physical line ends the heredoc.
pub(super) fn ends(opening: &Opening, line: &str) -> bool {
    let line = if opening.chomp { line.trim_start_matches('\t') } else { line };
    line == opening.name
}

impl Heredoc {
    /// The body as a shell or a file gets it: without leading tabs where the heredoc says so.
    pub(crate) fn body(&self) -> String {
        if !self.opening.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[(&str, bool, bool)]) {
        let found: Vec<_> = openings(line).into_iter().map(|o| (o.name, o.expand, o.chomp)).collect();
        let found: Vec<_> = found.iter().map(|(name, expand, chomp)| (name.as_str(), *expand, *chomp)).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn words_begin_heredocs() {
        check("RUN <<EOF", &[("EOF", true, false)]);
        check("RUN <<-EOF", &[("EOF", true, true)]);
        check("RUN << EOF cat", &[("EOF", true, false)]);
        check("RUN 3<<A 4<<B awk", &[("A", true, false), ("B", true, false)]);
        check("COPY <<\"EOF\" <<'B' <<E\"O\"F /x", &[("EOF", false, false), ("B", false, false), ("EOF", false, false)]);
        check("RUN cat <<<text", &[]);
        check("RUN echo \"<<EOF\"", &[]);
        check("RUN echo '<<EOF'", &[]);
        check("RUN cat<<EOF", &[]);
        check("RUN echo \"unmatched <<EOF", &[]);
        check("RUN <<", &[]);
        check("RUN echo $((1<<2)) <<EOF", &[("EOF", true, false)]);
    }

    #[test]
    fn bodies_end_with_the_delimiter() {
        let plain = Opening { name: "EOF".into(), expand: true, chomp: false };
        let chomp = Opening { chomp: true, ..plain.clone() };
        assert!(ends(&plain, "EOF") && !ends(&plain, "\tEOF") && !ends(&plain, "EOF "));
        assert!(ends(&chomp, "\t\tEOF"));
        let heredoc = Heredoc { opening: chomp, content: "\t\ta\n\tb\tc\n d\n".into() };
        assert_eq!(heredoc.body(), "a\nb\tc\n d\n");
    }
}
