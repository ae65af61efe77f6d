//! Writing straight into a state that is being made, without a mount.

mod dirs;
mod lookup;
mod make;
mod remove;

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use rbuild_fs::Kind;

pub(crate) use dirs::{Dir, Dirs, Found};
pub(crate) use make::fill;

use crate::error::{Result, on};
use crate::xattrs::Flavour;
use crate::{ActiveSnapshot, View};

/// Kinds of files.
pub use rbuild_fs::Kind as EntryKind;

/// Ownership, mode and times of what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// Permissions with set-id and sticky bits; symbolic links have none of their own.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// (seconds, nanoseconds); `None` leaves the time of writing.
    pub mtime: Option<(i64, u32)>,
    /// Set after the owner. Overlay's own and those of `security.*` other than the capability are dropped.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What `SnapshotWriter::entry` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryStat {
    /// What it is.
    pub kind: EntryKind,
    /// Permissions with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file or of a link's target.
    pub size: u64,
    /// (seconds, nanoseconds)
    pub mtime: (i64, u32),
    /// Of a device, as makedev(3).
    pub rdev: u64,
}

/// Writes straight into an active snapshot, without a mount. Reads see upper first, then the parents (whiteouts and opaques understood).
///
/// All paths are absolute inside the root, and are taken literally except in `resolve` and `read`: an intermediate symbolic link in a literal
/// path is an error (ELOOP), and so is `..` (EINVAL), so that nothing escapes. Parent directories that exist below are copied up with
/// their metadata; ones that exist nowhere are an error (ENOENT).
/// `&self` methods may be called from several threads for different paths.
#[derive(Debug)]
pub struct SnapshotWriter {
    pub(crate) dirs: Dirs,
    /// For what is made elsewhere and moved into its place; same file system.
    staging: PathBuf,
    moved: AtomicU64,
    /// In a whole tree that was copied from a parent: inodes with several names that may be changed for all of them. Others came from the
    /// parent and are unlinked from their siblings first, as an overlay's copying up would.
    linked: Option<Arc<Mutex<HashSet<u64>>>>,
    /// Keeps the parents' mount.
    _view: Option<Arc<View>>,
}

impl SnapshotWriter {
    /// Over an upper directory, with the parents' view beneath it.
    pub(crate) fn over(active: &ActiveSnapshot, view: Option<Arc<View>>, flavour: Flavour) -> Result<SnapshotWriter> {
        Self::new(active, view, Some(flavour))
    }

    /// Over a whole tree.
    pub(crate) fn whole(active: &ActiveSnapshot) -> Result<SnapshotWriter> {
        Self::new(active, None, None)
    }

    fn new(active: &ActiveSnapshot, view: Option<Arc<View>>, flavour: Option<Flavour>) -> Result<SnapshotWriter> {
        let root = std::path::Path::new("/");
        let upper = crate::at::open_beneath(active.tree(), std::path::Path::new("")).map_err(on("open", root))?;
        let lower = match &view {
            Some(view) => Some(view.root().fd().try_clone_to_owned().map_err(on("open", root))?),
            None => None,
        };
        let inherits = flavour.is_none() && active.parent().is_some();
        Ok(SnapshotWriter {
            dirs: Dirs::new(upper.as_fd().try_clone_to_owned().map_err(on("open", root))?, lower, flavour),
            staging: active.staging().to_path_buf(),
            moved: AtomicU64::new(0),
            linked: inherits.then(|| Arc::clone(&active.linked)),
            _view: view,
        })
    }
}

impl From<&rbuild_fs::Stat> for EntryStat {
    fn from(stat: &rbuild_fs::Stat) -> EntryStat {
        let rdev = if matches!(stat.kind, Kind::CharDevice | Kind::BlockDevice) { stat.rdev } else { 0 };
        EntryStat { kind: stat.kind, mode: stat.mode, uid: stat.uid, gid: stat.gid, size: stat.size, mtime: stat.mtime, rdev }
    }
}
