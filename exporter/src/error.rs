//! What can go wrong with an artifact.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rbuild_oci::{Digest, ManifestError, ReferenceError};
use rbuild_snapshotter::{SnapshotError, UnpackError};
use rbuild_store::StoreError;

/// A step of making, writing or reading an artifact that failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file-system state.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The layers of an image.
    #[error("image {image} could not be unpacked")]
    Unpack {
        /// Its manifest.
        image: Digest,
        /// Which layer, and why.
        #[source]
        source: Box<UnpackError>,
    },
    /// A system call on a path outside the state directory.
    #[error("could not {step} `{path}`")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A stream of bytes ended or broke.
    #[error("could not {step}")]
    Stream {
        /// What was tried.
        step: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A JSON document of an image.
    #[error("`{name}` is not usable")]
    Document {
        /// Its digest or path.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// Content that is not what its digest says.
    #[error("{what} has the digest {actual}, but {expected} was expected")]
    Mismatch {
        /// Which content.
        what: String,
        /// What was promised.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// Content that is not as long as its descriptor says.
    #[error("blob {digest} has {actual} bytes, but {expected} were expected")]
    Size {
        /// Which blob.
        digest: Digest,
        /// What was promised.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// A blob that an image refers to.
    #[error("blob {0} is missing")]
    MissingBlob(Digest),
    /// A file that an archive must have.
    #[error("the archive has no `{0}`")]
    MissingFile(String),
    /// An image whose parts do not fit each other.
    #[error("image `{image}`: {reason}")]
    BadImage {
        /// Which image.
        image: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// An archive or layout that breaks a rule.
    #[error("`{name}`: {reason}")]
    BadArchive {
        /// The file or entry.
        name: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// A name in an archive that is no reference.
    #[error("the archive names an image badly")]
    BadName(#[from] ReferenceError),
    /// No image for what was asked.
    #[error("no image {wanted}; there are: {offered}")]
    NoMatch {
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// A destination that cannot take what is to be written.
    #[error("`{path}`: {reason}")]
    Destination {
        /// The destination.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
}

/// Result with an [`ExportError`].
pub type Result<T, E = ExportError> = std::result::Result<T, E>;

impl ExportError {
    /// Whether a disk, or a quota on it, is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let mut error: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(current) = error {
            let full = current.downcast_ref::<StoreError>().is_some_and(StoreError::is_full)
                || current.downcast_ref::<io::Error>().is_some_and(is_full);
            if full {
                return true;
            }
            error = current.source();
        }
        false
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            ExportError::Store(error) => error.hint(),
            ExportError::Unpack { source, .. } if !self.is_full() => source.hint(),
            ExportError::MissingFile(_) => {
                Some("`load` reads what `save` and `docker save` write; a plain root file system is for `import`".into())
            }
            _ if self.is_full() => Some("make room on the disk of the destination, or with `rbuild prune`".into()),
            ExportError::Snapshot(_)
            | ExportError::Unpack { .. }
            | ExportError::Io { .. }
            | ExportError::Stream { .. }
            | ExportError::Document { .. }
            | ExportError::Mismatch { .. }
            | ExportError::Size { .. }
            | ExportError::MissingBlob(_)
            | ExportError::BadImage { .. }
            | ExportError::BadArchive { .. }
            | ExportError::BadName(_)
            | ExportError::NoMatch { .. }
            | ExportError::Destination { .. } => None,
        }
    }

    pub(crate) fn bad_archive(name: impl Into<String>, reason: impl Into<String>) -> ExportError {
        ExportError::BadArchive { name: name.into(), reason: reason.into() }
    }

    pub(crate) fn bad_image(image: impl ToString, reason: impl Into<String>) -> ExportError {
        ExportError::BadImage { image: image.to_string(), reason: reason.into() }
    }
}

/// An error that crossed a pipe is inside an [`io::Error`].
fn is_full(error: &io::Error) -> bool {
    let inner = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || inner.and_then(|inner| inner.downcast_ref::<ExportError>()).is_some_and(ExportError::is_full)
        || inner.and_then(|inner| inner.downcast_ref::<StoreError>()).is_some_and(StoreError::is_full)
        || inner.and_then(|inner| inner.downcast_ref::<io::Error>()).is_some_and(is_full)
}

/// Adds step and path to an I/O error.
pub(crate) trait AtPath<T> {
    fn at(self, step: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> AtPath<T> for Result<T, E> {
    fn at(self, step: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| ExportError::Io { step, path: path.to_owned(), source: source.into() })
    }
}

/// Adds the step to an error of a stream; an error of ours that crossed a pipe comes out as it went in.
pub(crate) trait InStream<T> {
    fn stream(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T> InStream<T> for io::Result<T> {
    fn stream(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| match source.downcast::<ExportError>() {
            Ok(ours) => ours,
            Err(source) => ExportError::Stream { step: step(), source },
        })
    }
}

/// Names the document that could not be read.
pub(crate) trait InDocument<T> {
    fn document(self, name: impl ToString) -> Result<T>;
}

impl<T> InDocument<T> for Result<T, ManifestError> {
    fn document(self, name: impl ToString) -> Result<T> {
        self.map_err(|source| ExportError::Document { name: name.to_string(), source })
    }
}
