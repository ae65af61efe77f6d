//! Why a step failed: one variant for each thing that can go wrong, with the path, the action and the cause.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use rbuild_executor::ExecutorError;
use rbuild_fs::glob::BadPattern;
use rbuild_fs::ignore::PatternError;
use rbuild_graph::InputIndex;
use rbuild_http::HttpError;
use rbuild_oci::Digest;
use rbuild_snapshotter::{SnapshotError, UnpackError};
use rbuild_store::StoreError;

/// Classes of failures, from which the cli makes exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// A defect of rbuild, or what fits nowhere else.
    Internal,
    /// The Dockerfile or its context is wrong.
    Dockerfile,
    /// A RUN's process failed.
    Run,
    /// A server refused who asked.
    Auth,
    /// A server could not be reached, or answered nonsense.
    Network,
    /// The state directory or a disk failed.
    Storage,
    /// The build was cancelled.
    Cancelled,
}

/// Why a path of a context is not there although the file exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// Name of the ignore file, as shown.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// The pattern on that line.
    pub pattern: String,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "excluded by {} line {}: {}", self.file, self.line, self.pattern)
    }
}

/// Which of passwd and group a name was looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// `/etc/passwd`
    User,
    /// `/etc/group`
    Group,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameKind::User => "user",
            NameKind::Group => "group",
        })
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A RUN ended with a failure. The text is BuildKit's.
    #[error("process {command:?} did not complete successfully: {outcome}")]
    Process {
        /// The argument vector, joined by spaces.
        command: String,
        /// `exit code: 1`
        outcome: String,
        /// The exit code, 128+n for a signal.
        code: Option<i32>,
        /// Whether the kernel's OOM killer ended it.
        oom: bool,
    },
    /// Nobody wants the result any more.
    #[error("cancelled")]
    Cancelled,
    /// Something of a later version.
    #[error("{0} is not supported yet")]
    NotSupported(String),
    /// A path that is copied or mounted is not there. The text is BuildKit's.
    #[error("failed to calculate checksum of ref {reference}: \"{path}\": not found{}", excluded.as_ref().map(|rule| format!(" ({rule})")).unwrap_or_default())]
    SourceMissing {
        /// What was looked into: a context's name or a snapshot's id.
        reference: String,
        /// The path, absolute.
        path: String,
        /// The ignore rule that hides it.
        excluded: Option<Box<Exclusion>>,
        /// Names beside it that look alike.
        similar: Vec<String>,
    },
    /// A directory is copied onto something else, or below it.
    #[error("cannot copy to non-directory: {}", .0.display())]
    NonDirectory(PathBuf),
    /// A file is copied onto a directory.
    #[error("cannot replace to directory {} with file", .0.display())]
    ReplaceDirectory(PathBuf),
    /// Several files are copied to one name.
    #[error("`{target}` is not a directory, but {matches} files are copied to it")]
    SeveralToOne {
        /// The destination.
        target: String,
        /// How many files.
        matches: usize,
    },
    /// A file of a context was written to while the build read it.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// A name that the base does not know.
    #[error("unable to find {kind} {name}: no matching entries in {} file", match kind { NameKind::User => "passwd", NameKind::Group => "group" })]
    UnknownName {
        /// User or group.
        kind: NameKind,
        /// The name.
        name: String,
        /// Names that look alike.
        similar: Vec<String>,
    },
    /// A mode that cannot be understood.
    #[error("invalid chmod parameter: '{mode}'. {reason}")]
    BadMode {
        /// As written.
        mode: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A wildcard that cannot be understood.
    #[error("invalid wildcard")]
    Pattern(#[from] BadPattern),
    /// An ignore file or `--exclude` that cannot be understood.
    #[error("invalid pattern in {file}")]
    Ignore {
        /// The file's name, as shown.
        file: String,
        /// The rule it breaks.
        #[source]
        source: PatternError,
    },
    /// A source could not be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The path, as the source knows it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A destination could not be written.
    #[error("could not {action} `{}`", path.display())]
    Write {
        /// `copy to`, `make directory` …
        action: &'static str,
        /// The path in the image.
        path: PathBuf,
        /// Why.
        #[source]
        source: SnapshotError,
    },
    /// A broken or hostile archive.
    #[error("could not extract `{}` from the archive `{archive}`", entry.display())]
    Archive {
        /// The archive's path.
        archive: String,
        /// The entry, as named in it; empty before the first.
        entry: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A snapshot could not be prepared, viewed, mounted or committed.
    #[error("snapshot could not be {step}")]
    Snapshot {
        /// `prepared`, `committed` …
        step: &'static str,
        /// Why.
        #[source]
        source: SnapshotError,
    },
    /// An image could not be unpacked.
    #[error("image {image} could not be unpacked")]
    Unpack {
        /// The reference or digest.
        image: String,
        /// Why.
        #[source]
        source: Box<UnpackError>,
    },
    /// An image contradicts itself.
    #[error("image {image} is damaged: {reason}")]
    BadImage {
        /// The reference or digest.
        image: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A secret that a RUN needs was not given.
    #[error("secret {0}: not found")]
    MissingSecret(String),
    /// The state directory failed.
    #[error("could not {step}")]
    Store {
        /// What was tried.
        step: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A file of the state directory failed.
    #[error("could not {step}")]
    State {
        /// What was tried.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The sandbox could not be started.
    #[error("could not run {command:?}")]
    Sandbox {
        /// The argument vector, joined by spaces.
        command: String,
        /// Why.
        #[source]
        source: ExecutorError,
    },
    /// A download failed.
    #[error("could not fetch `{url}`")]
    Fetch {
        /// The URL, without credentials.
        url: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// A server answered with a failure.
    #[error("could not fetch `{url}`: invalid response status {code}")]
    Status {
        /// The URL that answered, without credentials.
        url: String,
        /// The HTTP status.
        code: u16,
    },
    /// A download that does not end.
    #[error("`{url}` is larger than {limit} bytes")]
    TooLarge {
        /// The URL, without credentials.
        url: String,
        /// Most bytes that are taken.
        limit: u64,
    },
    /// A download is not what the Dockerfile says.
    #[error("digest mismatch of `{url}`: expected {expected}, got {actual}")]
    Checksum {
        /// The URL, without credentials.
        url: String,
        /// What the Dockerfile says.
        expected: Digest,
        /// What was sent.
        actual: Digest,
    },
    /// A local directory that the build does not offer.
    #[error("the build has no context named `{0}`")]
    UnknownContext(String),
    /// An image that was not resolved.
    #[error("image {0} is not known to the build")]
    UnknownImage(Digest),
    /// The graph names an input that the vertex has not.
    #[error("input {} does not exist", .0.0)]
    UnknownInput(InputIndex),
    /// An internal thread ended badly.
    #[error("internal error: {0}")]
    Internal(String),
}

impl WorkError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if self.is_disk_full() {
            return Some("the disk is full: free some space, or run `rbuild prune`".to_owned());
        }
        match self {
            WorkError::SourceMissing { excluded: Some(rule), .. } => {
                Some(format!("the file exists, but is {rule}; `!` re-includes it"))
            }
            WorkError::SourceMissing { similar, .. } | WorkError::UnknownName { similar, .. } => did_you_mean(similar),
            WorkError::SeveralToOne { target, .. } => Some(format!("end the destination with a slash: `{target}/`")),
            WorkError::Changed(_) => Some("build again when nothing writes to the context".to_owned()),
            WorkError::Process { oom: true, .. } => Some("give the machine or its cgroup more memory".to_owned()),
            WorkError::Fetch { source: HttpError::Url { .. }, .. } => None,
            WorkError::Fetch { .. } => {
                Some("a URL is asked again in every build; is the network up? COPY a local file to build offline".to_owned())
            }
            WorkError::Unpack { source, .. } => source.hint(),
            WorkError::MissingSecret(id) => Some(format!("give it with `--secret id={id},src=FILE`")),
            WorkError::Process { .. }
            | WorkError::Cancelled
            | WorkError::NotSupported(_)
            | WorkError::NonDirectory(_)
            | WorkError::ReplaceDirectory(_)
            | WorkError::BadMode { .. }
            | WorkError::Pattern(_)
            | WorkError::Ignore { .. }
            | WorkError::Read { .. }
            | WorkError::Write { .. }
            | WorkError::Archive { .. }
            | WorkError::Snapshot { .. }
            | WorkError::BadImage { .. }
            | WorkError::Store { .. }
            | WorkError::State { .. }
            | WorkError::Sandbox { .. }
            | WorkError::Status { .. }
            | WorkError::TooLarge { .. }
            | WorkError::Checksum { .. }
            | WorkError::UnknownContext(_)
            | WorkError::UnknownImage(_)
            | WorkError::UnknownInput(_)
            | WorkError::Internal(_) => None,
        }
    }

    /// Which class of failures it belongs to.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        if self.is_disk_full() {
            return ErrorClass::Storage;
        }
        match self {
            WorkError::Process { .. } => ErrorClass::Run,
            WorkError::Sandbox { source, .. } => match source {
                ExecutorError::UnknownUser(_)
                | ExecutorError::UnknownGroup(_)
                | ExecutorError::NotFound(_)
                | ExecutorError::NotExecutable { .. } => ErrorClass::Run,
                ExecutorError::Setup { .. } => ErrorClass::Internal,
            },
            WorkError::Cancelled => ErrorClass::Cancelled,
            WorkError::NotSupported(_)
            | WorkError::SourceMissing { .. }
            | WorkError::NonDirectory(_)
            | WorkError::ReplaceDirectory(_)
            | WorkError::SeveralToOne { .. }
            | WorkError::Changed(_)
            | WorkError::UnknownName { .. }
            | WorkError::BadMode { .. }
            | WorkError::Pattern(_)
            | WorkError::Ignore { .. }
            | WorkError::Read { .. }
            | WorkError::Archive { .. }
            | WorkError::MissingSecret(_)
            | WorkError::Checksum { .. } => ErrorClass::Dockerfile,
            WorkError::Write { .. }
            | WorkError::Snapshot { .. }
            | WorkError::Unpack { .. }
            | WorkError::BadImage { .. }
            | WorkError::Store { .. }
            | WorkError::State { .. } => ErrorClass::Storage,
            WorkError::Fetch { source: HttpError::Url { .. }, .. } => ErrorClass::Dockerfile,
            WorkError::Fetch { .. } | WorkError::TooLarge { .. } => ErrorClass::Network,
            WorkError::Status { code: 401 | 403 | 407, .. } => ErrorClass::Auth,
            WorkError::Status { .. } => ErrorClass::Network,
            WorkError::UnknownContext(_) | WorkError::UnknownImage(_) | WorkError::UnknownInput(_) | WorkError::Internal(_) => {
                ErrorClass::Internal
            }
        }
    }

    fn is_disk_full(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let full = error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            if full || error.downcast_ref::<StoreError>().is_some_and(StoreError::is_full) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

fn did_you_mean(similar: &[String]) -> Option<String> {
    let names: Vec<String> = similar.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}

/// The system call's error number behind a failure, if there is one.
pub(crate) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        cause = error.source();
    }
    None
}
