//! Committed and unfinished states, and views of them.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rbuild_fs::Root;
use rbuild_store::{Session, SnapshotId, SnapshotRow};

use crate::error::{Result, SnapshotError, on};
use crate::{at, inode};

/// A committed, immutable file-system state. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    /// Its name, and that of its directory in the store.
    pub id: SnapshotId,
    /// The state that it changes.
    pub parent: Option<Arc<Snapshot>>,
    /// Number of snapshots in the chain, 1 for a base.
    pub depth: u32,
    /// When it was committed, in nanoseconds since the epoch.
    pub created: i64,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { id, parent, depth, created } = self;
        let parent = parent.as_ref().map(|parent| &parent.id.0);
        f.debug_struct("Snapshot")
            .field("id", &id.0)
            .field("parent", &parent)
            .field("depth", depth)
            .field("created", created)
            .finish()
    }
}

impl Drop for Snapshot {
    /// Takes a chain apart step by step: one of thousands would overflow the stack otherwise.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut last| last.parent.take());
        }
    }
}

impl Snapshot {
    /// From rows, the uppermost first, as `Store::acquire_snapshot` gives them.
    pub(crate) fn from_rows(rows: Vec<SnapshotRow>) -> Result<Option<Snapshot>> {
        let mut chain: Option<Snapshot> = None;
        for row in rows.into_iter().rev() {
            let below = chain.as_ref().map(|snapshot| &snapshot.id);
            if row.parent.as_ref() != below {
                return Err(SnapshotError::BrokenChain(row.id));
            }
            let parent = chain.take().map(Arc::new);
            chain = Some(Snapshot {
                id: row.id,
                depth: parent.as_ref().map_or(1, |parent| parent.depth + 1),
                parent,
                created: row.created,
            });
        }
        Ok(chain)
    }

    /// Itself and its parents, the uppermost first.
    pub fn chain(&self) -> impl Iterator<Item = &Snapshot> {
        std::iter::successors(Some(self), |snapshot| snapshot.parent.as_deref())
    }
}

/// A state that is being made. Dropping it throws it away.
///
/// On disk, in the session's staging: `<staging>/state/fs` is what the snapshot will have (`state` is what a commit moves), beside work
/// directories and files on their way.
pub struct ActiveSnapshot {
    pub(crate) parent: Option<Snapshot>,
    staging: PathBuf,
    /// `state/fs`.
    tree: OwnedFd,
    /// In the copy driver: inodes with several names that were linked here, not taken over from the parent.
    pub(crate) linked: Arc<Mutex<HashSet<u64>>>,
    mounts: AtomicU64,
    _session: Arc<Session>,
}

impl ActiveSnapshot {
    /// An empty one, with the root directory's attributes of `parent_root`.
    pub(crate) fn create(
        session: &Arc<Session>,
        parent: Option<&Snapshot>,
        parent_root: Option<BorrowedFd<'_>>,
    ) -> Result<ActiveSnapshot> {
        let staging = session.staging_dir()?;
        let made = Self::fill(&staging, parent_root);
        if made.is_err() {
            remove(&staging);
        }
        Ok(ActiveSnapshot {
            parent: parent.cloned(),
            tree: made?,
            staging,
            linked: Arc::default(),
            mounts: AtomicU64::new(0),
            _session: Arc::clone(session),
        })
    }

    fn fill(staging: &Path, parent_root: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
        let path = staging.join("state").join("fs");
        fs_err::create_dir_all(&path).map_err(on("make the staging directory", &path))?;
        let tree = at::open_path(&path).map_err(on("open the staging directory", &path))?;
        let attrs = match parent_root {
            Some(root) => inode::attrs_of_dir(root).map_err(on("read the attributes of", Path::new("/")))?,
            // A root that nothing describes is the same on every machine, whatever the umask and the time.
            None => crate::Attrs { mode: 0o755, uid: 0, gid: 0, mtime: Some((0, 0)), xattrs: Vec::new() },
        };
        inode::finish(tree.as_fd(), &attrs, inode::Origin::State).map_err(on("set the attributes of", Path::new("/")))?;
        Ok(tree)
    }

    /// The state that this one changes.
    pub fn parent(&self) -> Option<&Snapshot> {
        self.parent.as_ref()
    }

    /// The directory that is being filled: the changes, or the whole tree.
    pub(crate) fn tree(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }

    pub(crate) fn tree_path(&self) -> PathBuf {
        self.state_path().join("fs")
    }

    /// What a commit moves into the store.
    pub(crate) fn state_path(&self) -> PathBuf {
        self.staging.join("state")
    }

    /// A number that no other mount of this state had.
    pub(crate) fn next_mount(&self) -> u64 {
        self.mounts.fetch_add(1, Ordering::Relaxed)
    }

    /// A directory for what is not part of the state.
    pub(crate) fn staging(&self) -> &Path {
        &self.staging
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        remove(&self.staging);
    }
}

/// Removes a staging directory. What stays (because the disk fails) is garbage that `prune` finds.
fn remove(staging: &Path) {
    let removed = match (staging.parent(), staging.file_name()) {
        (Some(parent), Some(name)) => at::open_path(parent).and_then(|parent| rbuild_fs::remove_tree(&parent, name)),
        _ => Ok(false),
    };
    if let Err(error) = removed {
        tracing::debug!(path = %staging.display(), %error, "staging directory stays");
    }
}

/// A read-only view of a state as a directory descriptor, valid while it lives: an overlay mounted detached, or the directory itself. Paths
/// beneath it are resolved with RESOLVE_IN_ROOT by `rbuild_fs::Root`.
#[derive(Debug)]
pub struct View {
    root: Root,
}

impl View {
    pub(crate) fn new(root: Root) -> View {
        View { root }
    }

    /// The root of the state.
    pub fn root(&self) -> &Root {
        &self.root
    }
}
