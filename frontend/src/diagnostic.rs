//! Messages about a Dockerfile.

use std::ops::Range;

use crate::source::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// It does not.
    Error,
}

/// One message about the file. `code` is stable (`unknown-instruction`, or a lint rule's name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of mistake, in stable words.
    pub code: &'static str,
    /// What is wrong, in BuildKit's words.
    pub message: String,
    /// Byte range in the source; `None` for the file as a whole.
    pub span: Option<Range<usize>>,
    /// What to do about it, did-you-mean included.
    pub hint: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(code: &'static str, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { severity: Severity::Error, code, message: message.into(), span: Some(span), hint: None }
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message, span) }
    }

    /// About the file or the options as a whole.
    pub(crate) fn whole(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: None, ..Diagnostic::error(code, message, 0..0) }
    }

    /// What later work brings; never accepted and ignored.
    pub(crate) fn unsupported(what: &str, span: Span) -> Diagnostic {
        Diagnostic::error("not-supported", format!("{what} is not supported yet"), span)
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Diagnostic {
        Diagnostic { hint: Some(hint.into()), ..self }
    }

    /// `did you mean X?` in BuildKit's form.
    pub(crate) fn did_you_mean(self, suggestion: Option<impl AsRef<str>>) -> Diagnostic {
        match suggestion {
            Some(word) => self.hint(format!("did you mean {}?", word.as_ref())),
            None => self,
        }
    }
}
