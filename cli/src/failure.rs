//! How commands fail: what is said, and with which exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use rbuild_executor::ExecutorError;
use rbuild_exporter::ExportError;
use rbuild_snapshotter::SnapshotError;
use rbuild_store::StoreError;

/// Classes of failures; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Anything without a class of its own.
    Internal,
    /// The command line asks for something that makes no sense.
    Usage,
    /// The Dockerfile or what it refers to is wrong.
    Dockerfile,
    /// A RUN failed.
    Step,
    /// Authentication is missing or was refused.
    Denied,
    /// The network or a registry failed.
    Network,
    /// The state directory or an output could not be read or written.
    Storage,
    /// The user or a signal ended it.
    Cancelled,
    /// `run`: no container was started.
    Engine,
    /// `run`: the program cannot be executed.
    NotExecutable,
    /// `run`: there is no such program.
    NotFound,
    /// Nobody reads standard output any more.
    Pipe,
}

impl Class {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Class::Internal => 1,
            Class::Usage => 2,
            Class::Dockerfile => 3,
            Class::Step => 4,
            Class::Denied => 5,
            Class::Network => 6,
            Class::Storage => 7,
            Class::Cancelled => 130,
            Class::Engine => 125,
            Class::NotExecutable => 126,
            Class::NotFound => 127,
            Class::Pipe => 141,
        }
    }

    /// Its name in the metadata file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Internal => "internal",
            Class::Usage => "usage",
            Class::Dockerfile => "dockerfile",
            Class::Step => "run",
            Class::Denied => "denied",
            Class::Network => "network",
            Class::Storage => "storage",
            Class::Cancelled => "cancelled",
            Class::Engine => "engine",
            Class::NotExecutable => "not-executable",
            Class::NotFound => "not-found",
            Class::Pipe => "pipe",
        }
    }
}

impl From<Class> for ExitCode {
    fn from(class: Class) -> ExitCode {
        ExitCode::from(class.code())
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    error: anyhow::Error,
    hint: Option<String>,
    /// Shown before the message: an excerpt of the Dockerfile, the last output of a step.
    excerpt: Option<String>,
    /// The exit code of the RUN that failed.
    pub(crate) run_code: Option<i32>,
}

impl Failure {
    /// A failure of a class; a full disk below it makes it one of storage.
    pub(crate) fn new(class: Class, error: impl Into<anyhow::Error>) -> Failure {
        let error = error.into();
        let full = error.chain().any(is_full);
        let hint = full
            .then(|| "the disk is full: make room with `rbuild prune -a`, or choose another directory with --root".to_owned());
        let class = if full { Class::Storage } else { class };
        Failure { class, error, hint, excerpt: None, run_code: None }
    }

    /// A command line that asks for something that makes no sense.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure::new(Class::Usage, error)
    }

    /// A part of docker's command line that rbuild knows and cannot do yet.
    pub(crate) fn not_supported(what: &str) -> Failure {
        Failure::usage(anyhow::anyhow!("{what} is not supported yet"))
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Adds what to do about it, where something is known.
    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Failure {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Says first what was being done.
    pub(crate) fn context(mut self, text: String) -> Failure {
        self.error = self.error.context(text);
        self
    }

    /// Adds what is shown before the message.
    pub(crate) fn excerpt(mut self, text: String) -> Failure {
        self.excerpt = Some(text);
        self
    }

    /// As `run` has it: what is not about the program itself is 125.
    pub(crate) fn of_run(mut self) -> Failure {
        let own = [Class::NotExecutable, Class::NotFound, Class::Cancelled, Class::Pipe];
        if !own.contains(&self.class) {
            self.class = Class::Engine;
        }
        self
    }

    /// The message without its causes.
    pub(crate) fn message(&self) -> String {
        self.error.to_string()
    }

    /// Says it on standard error.
    pub(crate) fn report(self) -> ExitCode {
        if self.class != Class::Pipe {
            // When standard error is gone too, the exit code is all that is left.
            drop(self.write(&mut io::stderr().lock()));
        }
        self.class.into()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(excerpt) = &self.excerpt {
            writeln!(out, "{}", excerpt.trim_end())?;
        }
        writeln!(out, "error: {}", self.error)?;
        let mut said = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // `transparent` errors say the same twice, and an excerpt says it beside its place.
            let shown = self.excerpt.as_ref().is_some_and(|excerpt| excerpt.contains(&cause));
            if cause != said && !shown {
                writeln!(out, "  caused by: {cause}")?;
            }
            said = cause;
        }
        if let Some(hint) = &self.hint {
            writeln!(out, "hint: {hint}")?;
        }
        Ok(())
    }
}

/// Whether an error says that the disk, or a quota on it, is full.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let io_full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    error.downcast_ref::<io::Error>().is_some_and(io_full) || error.downcast_ref::<StoreError>().is_some_and(StoreError::is_full)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let hint = error.hint();
        Failure::new(Class::Storage, error).maybe_hint(hint)
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Failure {
        Failure::new(Class::Storage, error)
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        let hint = error.hint();
        Failure::new(Class::Storage, error).maybe_hint(hint)
    }
}

impl From<ExecutorError> for Failure {
    fn from(error: ExecutorError) -> Failure {
        let class = match &error {
            ExecutorError::NotFound(_) => Class::NotFound,
            ExecutorError::NotExecutable { .. } => Class::NotExecutable,
            ExecutorError::UnknownUser(_) | ExecutorError::UnknownGroup(_) | ExecutorError::Setup { .. } => Class::Internal,
        };
        Failure::new(class, error)
    }
}

/// Writes to standard output. A reader that has left (`| head`) ends the command without a word, as for any Unix program.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        let class = if error.kind() == io::ErrorKind::BrokenPipe { Class::Pipe } else { Class::Storage };
        Failure::new(class, anyhow::Error::new(error).context("standard output cannot be written"))
    })
}

/// Says something on standard error that is no failure. A closed standard error is nothing to fail for.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn text(failure: &Failure) -> String {
        let mut out = Vec::new();
        failure.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn causes_and_hints_follow_the_message() {
        let error = anyhow!("the kernel says no").context("could not mount").context("the build failed");
        let failure = Failure::new(Class::Internal, error).excerpt("1 | FROM x\n".to_owned()).hint("try again");
        assert_eq!(
            text(&failure),
            "1 | FROM x\nerror: the build failed\n  caused by: could not mount\n  caused by: the kernel says no\nhint: try again\n"
        );
    }

    #[test]
    fn exit_codes_are_those_of_the_design() {
        let codes = [
            (Class::Internal, 1),
            (Class::Usage, 2),
            (Class::Dockerfile, 3),
            (Class::Step, 4),
            (Class::Denied, 5),
            (Class::Network, 6),
            (Class::Storage, 7),
            (Class::Cancelled, 130),
            (Class::Engine, 125),
            (Class::NotExecutable, 126),
            (Class::NotFound, 127),
        ];
        for (class, code) in codes {
            assert_eq!(class.code(), code, "{}", class.name());
        }
    }

    #[test]
    fn a_full_disk_is_storage_wherever_it_happens() {
        let full = io::Error::from_raw_os_error(28);
        let failure = Failure::new(Class::Internal, anyhow::Error::new(full).context("could not write"));
        assert_eq!(failure.class, Class::Storage);
        assert!(text(&failure).contains("hint: the disk is full"));
    }

    #[test]
    fn run_has_dockers_codes() {
        let of = |error: ExecutorError| Failure::from(error).of_run().class.code();
        assert_eq!(of(ExecutorError::NotFound("x".to_owned())), 127);
        assert_eq!(of(ExecutorError::NotExecutable { program: "x".to_owned(), source: io::Error::other("no") }), 126);
        assert_eq!(of(ExecutorError::UnknownUser("x".to_owned())), 125);
    }
}
