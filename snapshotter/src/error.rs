//! Why a file-system state could not be stored, changed, compared or turned into a layer.

use std::io;
use std::path::{Path, PathBuf};

use rbuild_store::{SnapshotId, StoreError};

/// Every failure of this crate. Paths are those inside the image, unless the step says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A system call on one path failed; [`SnapshotError::raw_os_error`] tells EEXIST, EISDIR, ENOTDIR, ELOOP and ENOSPC apart.
    #[error("could not {step} `{path}`")]
    Io {
        /// A verb phrase: `make the directory`.
        step: &'static str,
        /// What it was about.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a mount.
    #[error("could not mount {what}{log}")]
    Mount {
        /// What was to be mounted.
        what: &'static str,
        /// The kernel's own words, or nothing.
        log: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The state directory failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory was made with a driver that this version does not know.
    #[error("the state directory uses the snapshot driver `{0}`, which this version does not know")]
    UnknownDriver(String),
    /// A snapshot's parents are not what its row says.
    #[error("the chain of snapshot `{}` is broken", .0.0)]
    BrokenChain(SnapshotId),
    /// More snapshots on top of each other than can be mounted.
    #[error("a chain of {depth} snapshots is deeper than the {limit} that can be mounted")]
    TooDeep {
        /// Length of the chain.
        depth: usize,
        /// The longest one.
        limit: usize,
    },
    /// A layer's tar could not be read.
    #[error("the layer's tar is damaged")]
    Archive(#[source] io::Error),
    /// One entry of a layer could not be applied.
    #[error("layer entry `{entry}` cannot be applied")]
    Entry {
        /// Its name, as in the tar.
        entry: PathBuf,
        /// Why.
        #[source]
        source: Box<SnapshotError>,
    },
    /// A name that layers reserve for deletions.
    #[error("`{0}` cannot be stored in a layer: names that start with `.wh.` mean deletions there")]
    Reserved(PathBuf),
    /// A 0:0 character device, which overlay file systems take for a deletion.
    #[error("`{0}` is a 0:0 character device, which means a deletion in an overlay and is refused")]
    WhiteoutDevice(PathBuf),
    /// A source ended before the size that was promised.
    #[error("`{path}` should have {expected} bytes, but only {actual} came")]
    Short {
        /// The file that was written.
        path: PathBuf,
        /// Promised bytes.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A file is larger than the caller wants to read.
    #[error("`{path}` has more than the {limit} bytes that are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The caller's limit in bytes.
        limit: u64,
    },
    /// The tar could not be written to its receiver.
    #[error("could not write the entry `{path}` of the tar")]
    Output {
        /// Entry that was being written; empty at the end of the tar.
        path: PathBuf,
        /// The receiver's or the writer's answer.
        #[source]
        source: io::Error,
    },
}

/// Short for results of this crate.
pub type Result<T, E = SnapshotError> = std::result::Result<T, E>;

impl SnapshotError {
    /// The kernel's error number, if one is at the bottom of this.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } | Self::Mount { source, .. } | Self::Output { source, .. } | Self::Archive(source) => {
                source.raw_os_error()
            }
            Self::Entry { source, .. } => source.raw_os_error(),
            Self::Store(_)
            | Self::UnknownDriver(_)
            | Self::BrokenChain(_)
            | Self::TooDeep { .. }
            | Self::Reserved(_)
            | Self::WhiteoutDevice(_)
            | Self::Short { .. }
            | Self::TooLarge { .. } => None,
        }
    }

    /// Whether the disk (or a quota) is full.
    pub fn is_full(&self) -> bool {
        matches!(self.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
    }
}

/// For `map_err`: names the step and the path of an I/O error.
pub(crate) fn on<E: Into<io::Error>>(step: &'static str, path: &Path) -> impl FnOnce(E) -> SnapshotError {
    move |source| SnapshotError::Io { step, path: path.to_path_buf(), source: source.into() }
}

/// An error number as an I/O error.
pub(crate) fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}
