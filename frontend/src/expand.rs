//! Variable expansion: the shell's words as Dockerfiles know them (spec §1.4).

mod pattern;
mod scan;

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostic;
use crate::go_format;
use crate::instruction::Word;

/// What a lexer does with quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// They group, and go away.
    Remove,
    /// They group, and stay.
    Keep,
    /// They are ordinary characters (bodies of heredocs).
    Ignore,
}

/// How text is expanded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexer {
    pub(crate) escape: char,
    pub(crate) quotes: Quotes,
    /// Whether escape characters stay.
    pub(crate) keep_escapes: bool,
    /// Whether variables without a value stay as they are written.
    pub(crate) keep_unset: bool,
}

/// Where values come from.
pub(crate) trait Variables {
    /// The value of a name that is set.
    fn value(&self, name: &str) -> Option<&str>;
}

/// No variable is set.
pub(crate) struct Nothing;

impl Variables for Nothing {
    fn value(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// What a text became.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// The text in words, when words were asked for.
    pub(crate) words: Vec<String>,
    /// Names that had a value.
    pub(crate) used: BTreeSet<String>,
    /// Names that had none.
    pub(crate) unset: BTreeSet<String>,
}

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ExpandError {
    pub(crate) message: String,
    /// Where in the text it was noticed, in bytes.
    pub(crate) at: usize,
}

impl ExpandError {
    /// A message at the variable, where the word is one piece of the source.
    pub(crate) fn diagnostic(self, word: &Word) -> Diagnostic {
        let contiguous = word.span.len() == word.text.len();
        let start = if contiguous { word.span.start + self.at } else { word.span.start };
        let cut_off = self.message.ends_with(scan::NO_BRACE);
        let diagnostic = Diagnostic::error("expansion", self.message, start..word.span.end);
        if cut_off { diagnostic.hint("a space ends the word; put it in double quotes") } else { diagnostic }
    }
}

impl Lexer {
    pub(crate) fn new(escape: char) -> Lexer {
        Lexer { escape, quotes: Quotes::Remove, keep_escapes: false, keep_unset: false }
    }

    /// Expands into one text.
    pub(crate) fn word(&self, text: &str, variables: &dyn Variables) -> Result<Expanded, ExpandError> {
        self.expand(text, variables, false)
    }

    /// Expands, and splits what came out at white space that is not quoted.
    pub(crate) fn words(&self, text: &str, variables: &dyn Variables) -> Result<Expanded, ExpandError> {
        self.expand(text, variables, true)
    }

    fn expand(&self, text: &str, variables: &dyn Variables, words: bool) -> Result<Expanded, ExpandError> {
        let mut scan = scan::Scan::new(*self, text, variables);
        match scan.whole(words) {
            Ok((text, words)) => Ok(Expanded { text, words, used: scan.used, unset: scan.unset }),
            Err(message) => {
                let message = format!("failed to process {}: {message}", go_format::quote_short(text));
                Err(ExpandError { message, at: scan.last_variable })
            }
        }
    }
}

#[cfg(test)]
mod tests;
