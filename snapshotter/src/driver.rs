//! What a way of storing states must offer, and which ways there are.

use std::path::PathBuf;
use std::sync::Arc;

use rbuild_fs::MountSource;

use crate::{ActiveSnapshot, Result, Snapshot, SnapshotWriter, View};

/// How states are stored. Chosen once for a state directory, by probing. All calls block.
pub trait SnapshotDriver: Send + Sync {
    /// As in the store's format file: `overlay`, `overlay-userxattr` or `copy`.
    fn name(&self) -> &'static str;

    /// Begins a state on top of `parent`, or from nothing.
    fn prepare(&self, parent: Option<&Snapshot>) -> Result<ActiveSnapshot>;

    /// For writing without a mount. Drop it before the commit.
    fn writer(&self, active: &ActiveSnapshot) -> Result<SnapshotWriter>;

    /// Mounts for a process: writable (the changes go to `active`). One mount at a time.
    fn mount(&self, active: &ActiveSnapshot) -> Result<MountSource>;

    /// A read-only mount of a state (`RUN --mount=from`, `rbuild run --read-only`).
    fn mount_readonly(&self, snapshot: &Snapshot) -> Result<MountSource>;

    /// A look at a whole state. Cached, so that a chain of steps on one state shares it.
    fn view(&self, snapshot: &Snapshot) -> Result<Arc<View>>;

    /// What `snapshot` has beyond its parent, sorted by path in byte order of components, parents of changed paths included.
    fn changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>>;

    /// Makes a state immutable and visible, in one atomic step. `description` is for `du`.
    fn commit(&self, active: ActiveSnapshot, description: &str) -> Result<Snapshot>;
}

/// A path that differs between a state and its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Relative to the root, never empty.
    pub path: PathBuf,
    /// How.
    pub kind: ChangeKind,
}

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The parent has nothing there.
    Added,
    /// Content, metadata or type differ, or it is linked to something that does.
    Modified,
    /// A directory that is only listed because something below it changed.
    Parent,
    /// Only the parent has it. What was below it is not listed.
    Deleted,
}

/// Which driver a new state directory gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    /// By the format file, or by probing.
    Auto,
    /// Overlay, or an error when it does not work.
    Overlay,
    /// Plain copies.
    Copy,
}
