//! What can go wrong in the state directory.

use std::io;
use std::path::{Path, PathBuf};

use rbuild_oci::Digest;

/// A step of the store that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call on a path failed.
    #[error("the state directory could not {step} `{path}`")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("the state database could not {step}")]
    Database {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// The bytes are not what they were said to be.
    #[error("blob {expected} has the digest {actual}")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// A blob is larger than the reader allows.
    #[error("blob {digest} has {size} bytes, more than the {limit} that are allowed here")]
    TooLarge {
        /// Which blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// Most that the caller takes.
        limit: u64,
    },
    /// Something that must exist does not.
    #[error("the store has no {what} `{id}`")]
    Missing {
        /// `blob`, `snapshot` …
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// A directory that holds something else.
    #[error("`{path}` is not empty and not a state directory: it has `{entry}`")]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// A name in it that no state directory has.
        entry: String,
    },
    /// The format file is damaged or of another version.
    #[error("the state directory `{path}` has an unknown format: {reason}")]
    UnknownFormat {
        /// The directory.
        path: PathBuf,
        /// What is not understood.
        reason: String,
    },
    /// A stored manifest or configuration cannot be read.
    #[error("the stored image {digest} is damaged")]
    BadImage {
        /// The blob that cannot be read.
        digest: Digest,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A row holds text that is no longer understood.
    #[error("the state database has the bad {what} `{text}`")]
    BadRow {
        /// `digest`, `reference` …
        what: &'static str,
        /// The text.
        text: String,
    },
    /// The kernel gave no random bytes.
    #[error("no random bytes for a name")]
    Random(#[source] getrandom::Error),
}

/// Result with a [`StoreError`].
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// Whether the disk (or a quota on it) is full: prune or make room, then try again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            StoreError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            StoreError::Database { source, .. } => database_full(source),
            StoreError::DigestMismatch { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Missing { .. }
            | StoreError::NotAStore { .. }
            | StoreError::UnknownFormat { .. }
            | StoreError::BadImage { .. }
            | StoreError::BadRow { .. }
            | StoreError::Random(_) => false,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if self.is_full() {
            return Some(
                "the disk is full: make room with `rbuild prune -a`, or choose another directory with --root".to_owned(),
            );
        }
        match self {
            StoreError::UnknownFormat { .. } => {
                Some("use the rbuild version that made it, or choose another directory with --root".to_owned())
            }
            StoreError::NotAStore { .. } => Some("choose an empty directory with --root".to_owned()),
            StoreError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("choose a directory that you own with --root".to_owned())
            }
            StoreError::Io { .. }
            | StoreError::Database { .. }
            | StoreError::DigestMismatch { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Missing { .. }
            | StoreError::BadImage { .. }
            | StoreError::BadRow { .. }
            | StoreError::Random(_) => None,
        }
    }
}

/// SQLite's own word for a full disk, and the one it has for a shared-memory file that cannot grow.
fn database_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|inner| {
        inner.code == rusqlite::ErrorCode::DiskFull || inner.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    })
}

/// Adds step and path to an I/O error.
pub(crate) trait AtPath<T> {
    fn at(self, step: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> AtPath<T> for Result<T, E> {
    fn at(self, step: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| StoreError::Io { step, path: path.to_owned(), source: source.into() })
    }
}

/// Adds the step to a database error.
pub(crate) trait InStep<T> {
    fn step(self, step: &'static str) -> Result<T>;
}

impl<T> InStep<T> for rusqlite::Result<T> {
    fn step(self, step: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::Database { step, source })
    }
}
