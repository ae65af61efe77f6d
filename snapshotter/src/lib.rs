//! File-system states: how they are stored, changed, viewed, compared, and turned into layers and back.
//!
//! SEAM: signatures agreed on; bodies and the split into files are the snapshotter's own work.
#![allow(missing_docs, clippy::todo, unused_variables, reason = "seam")]

mod unpack;

pub use unpack::{OpenBlob, UnpackError, unpack_layers};

use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rbuild_fs::MountSource;
use rbuild_oci::{ChainId, DiffId};
use rbuild_store::{Session, SnapshotId, Store};

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Store(#[from] rbuild_store::StoreError),
    #[error("seam")] Io { source: std::io::Error },
    #[error("seam")] Short { actual: u64 },
    #[error("seam")]
    Other,
}
pub type Result<T, E = SnapshotError> = std::result::Result<T, E>;

/// A committed, immutable file-system state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot { pub id: SnapshotId, pub parent: Option<Arc<Snapshot>>, pub depth: u32, pub created: i64 }

/// A state that is being made. Dropping it throws it away.
pub struct ActiveSnapshot { _inner: () }

/// A read-only view of a state (or of an active one's parents) as a directory descriptor, valid while it lives: an overlay mounted
/// detached, or the directory itself. Paths beneath it are resolved with RESOLVE_IN_ROOT by `rbuild_fs::Root`.
pub struct View { _inner: () }
impl View {
    pub fn root(&self) -> &rbuild_fs::Root { todo!() }
}

/// How states are stored. Chosen once for a state directory, by probing.
pub trait SnapshotDriver: Send + Sync {
    fn name(&self) -> &'static str;
    fn prepare(&self, parent: Option<&Snapshot>) -> Result<ActiveSnapshot>;
    fn writer(&self, active: &ActiveSnapshot) -> Result<SnapshotWriter>;
    /// Mounts for a process: writable (the changes go to `active`).
    fn mount(&self, active: &ActiveSnapshot) -> Result<MountSource>;
    /// A read-only mount of a state (`RUN --mount=from`, `rbuild run --read-only`).
    fn mount_readonly(&self, snapshot: &Snapshot) -> Result<MountSource>;
    fn view(&self, snapshot: &Snapshot) -> Result<Arc<View>>;
    /// What `snapshot` has beyond its parent, sorted by path in byte order of components, parents of changed paths included.
    fn changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>>;
    fn commit(&self, active: ActiveSnapshot, description: &str) -> Result<Snapshot>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change { pub path: PathBuf, pub kind: ChangeKind }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind { Added, Modified, /** a parent that is only listed for completeness */ Parent, Deleted }

/// The front: a store, its driver, a session.
#[derive(Clone)]
pub struct Snapshotter { _inner: Arc<()> }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverChoice { /** by the format file, or by probing */ Auto, Overlay, Copy }

impl Snapshotter {
    /// For `Store::open`'s probe: which driver works on this directory (`overlay`, `overlay-userxattr`, `copy`).
    pub fn probe(root: &Path, choice: DriverChoice) -> std::io::Result<String> { todo!() }
    pub fn new(store: Store, session: Arc<Session>) -> Result<Snapshotter> { todo!() }
    pub fn driver(&self) -> &dyn SnapshotDriver { todo!() }
    pub fn store(&self) -> &Store { todo!() }
    pub fn session(&self) -> &Arc<Session> { todo!() }
    /// Loads and leases.
    pub fn open(&self, id: &SnapshotId) -> Result<Option<Snapshot>> { todo!() }
    pub fn open_chain(&self, chain: &ChainId) -> Result<Option<Snapshot>> { todo!() }

    /// Applies one layer's uncompressed tar on a parent; verifies nothing of digests (the caller hashes the stream it hands in and
    /// commits only when it matched: `unpacked.commit(...)`). Whiteouts, opaque markers, omitted parents, links into lower layers.
    pub fn apply(&self, parent: Option<&Snapshot>, tar: &mut dyn Read) -> Result<ActiveSnapshot> { todo!() }

    /// Writes the canonical layer tar of a snapshot's changes (spec G-64..G-67; PAX, sorted, times by policy).
    pub fn write_layer(&self, snapshot: &Snapshot, times: &TimePolicy, out: &mut dyn Write) -> Result<()> { todo!() }
    /// Writes the whole tree as a tar (`-o type=tar`, `export`).
    pub fn write_tree(&self, snapshot: &Snapshot, times: &TimePolicy, out: &mut dyn Write) -> Result<()> { todo!() }
}

/// Which times a layer carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimePolicy { /** as in the snapshot, in whole seconds */ Keep, /** no later than this, seconds */ Clamp(i64), /** all exactly this */ Exactly(i64) }
impl TimePolicy {
    /// Canonical text for layer keys.
    pub fn key(&self) -> String { todo!() }
}

/// Ownership, mode and times of what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attrs {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// (seconds, nanoseconds); `None` leaves the time of writing.
    pub mtime: Option<(i64, u32)>,
    /// Set after the owner; overlay's own and `security.*` other than capability are dropped or escaped.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What `SnapshotWriter::entry` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryStat { pub kind: EntryKind, pub mode: u32, pub uid: u32, pub gid: u32, pub size: u64, pub mtime: (i64, u32), pub rdev: u64 }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind { File, Dir, Symlink, CharDevice, BlockDevice, Fifo, Socket }

/// Writes straight into an active snapshot, without a mount. Reads see upper first, then the parents (whiteouts and opaques
/// understood). All paths are absolute inside the root, and are taken literally except in `resolve`: an intermediate symbolic link
/// in a literal path is an error (ELOOP), so that nothing escapes. Parent directories that exist below are copied up with their metadata.
/// `&self` methods may be called from several threads for different paths.
pub struct SnapshotWriter { _inner: () }

impl SnapshotWriter {
    /// Resolves symbolic links beneath the root as chroot would (including the last component when `follow`); components that do not
    /// exist are kept. At most 255 links (ELOOP).
    pub fn resolve(&self, path: &Path, follow: bool) -> Result<PathBuf> { todo!() }
    pub fn entry(&self, path: &Path) -> Result<Option<EntryStat>> { todo!() }
    /// Reads a file of the merged state, at most `limit` bytes; `None` when it is absent. Follows links in scope.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> { todo!() }
    pub fn read_link(&self, path: &Path) -> Result<PathBuf> { todo!() }
    /// Makes a directory; one that exists gets the attributes. Anything else there is an error (EEXIST).
    pub fn make_dir(&self, path: &Path, attrs: &Attrs) -> Result<()> { todo!() }
    /// Makes missing directories up to and including `path`, resolved already; existing ones are left as they are. Returns what was made.
    pub fn make_dirs(&self, path: &Path, attrs: &Attrs) -> Result<Vec<PathBuf>> { todo!() }
    /// A regular file from an open one (reflink, copy_file_range, read/write). Replaces what is there unless it is a directory (EISDIR).
    pub fn copy_file(&self, path: &Path, from: BorrowedFd<'_>, size: u64, attrs: &Attrs) -> Result<()> { todo!() }
    /// A regular file from a stream of exactly `size` bytes; returns what was read when shorter (an error).
    pub fn write_file(&self, path: &Path, from: &mut dyn Read, size: u64, attrs: &Attrs) -> Result<()> { todo!() }
    pub fn symlink(&self, path: &Path, target: &Path, attrs: &Attrs) -> Result<()> { todo!() }
    /// Links to a path of the merged state; a target that lives in the parents is copied up first.
    pub fn hard_link(&self, path: &Path, target: &Path) -> Result<()> { todo!() }
    /// Device, fifo or socket. A 0:0 character device is refused (it would be a whiteout).
    pub fn make_node(&self, path: &Path, kind: EntryKind, rdev: u64, attrs: &Attrs) -> Result<()> { todo!() }
    /// Sets attributes of what exists (copying it up).
    pub fn set_attrs(&self, path: &Path, attrs: &Attrs) -> Result<()> { todo!() }
    pub fn set_times(&self, path: &Path, mtime: (i64, u32)) -> Result<()> { todo!() }
    /// Removes a path, recursively; a whiteout where the parents have it. False when there was nothing.
    pub fn remove(&self, path: &Path) -> Result<bool> { todo!() }
}
