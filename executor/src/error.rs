//! What can go wrong before or around a command. A command's own exit code is a result and never here.

use std::io;

/// Why a command could not be run in a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The user has no number and is not in the root's `/etc/passwd` (spec G-22).
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// The group has no number and is not in the root's `/etc/group`.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    /// There is no such program; docker's exit code for it is 127.
    #[error("exec: `{0}`: {reason}", reason = if .0.contains('/') { "no such file or directory" } else { "executable file not found in $PATH" })]
    NotFound(String),
    /// The program exists but the kernel refuses to run it; docker's exit code for it is 126.
    #[error("exec: `{program}`: cannot be executed")]
    NotExecutable {
        /// As it was found.
        program: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A step of making the sandbox failed.
    #[error("sandbox could not {step}")]
    Setup {
        /// What was tried, as a verb phrase.
        step: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// Names the step that an I/O error stopped.
pub(crate) trait Step<T> {
    /// `step` is a verb phrase, as in [`ExecutorError::Setup`].
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, ExecutorError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, ExecutorError> {
        self.map_err(|error| ExecutorError::Setup { step: step().into(), source: error.into() })
    }
}
