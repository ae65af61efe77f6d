//! What both drivers do alike: committing, finding directories, caching views.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rbuild_fs::{Enter, Kind, Root};
use rbuild_store::{Session, SnapshotId, SnapshotRow, Store};

use crate::error::{Result, on};
use crate::{ActiveSnapshot, Snapshot, View, at};

/// Views that stay mounted although nobody holds them: enough for the steps of a build that alternate between stages.
const RECENT: usize = 8;

/// A store and this process's session in it.
#[derive(Clone, Debug)]
pub(crate) struct States {
    pub(crate) store: Store,
    pub(crate) session: Arc<Session>,
}

impl States {
    /// The changes, or the whole tree, of a committed snapshot.
    pub(crate) fn tree_path(&self, id: &SnapshotId) -> PathBuf {
        self.store.snapshot_dir(id).join("fs")
    }

    pub(crate) fn open_tree(&self, id: &SnapshotId) -> Result<OwnedFd> {
        let path = self.tree_path(id);
        at::open_path(&path).map_err(on("open the snapshot", &path))
    }

    /// Measures and commits.
    pub(crate) fn commit(&self, active: ActiveSnapshot, description: &str) -> Result<Snapshot> {
        let parent = active.parent().cloned();
        let size = disk_size(active.tree()).map_err(on("measure", &active.tree_path()))?;
        let row = SnapshotRow {
            id: self.session.new_snapshot_id(),
            parent: parent.as_ref().map(|parent| parent.id.clone()),
            depth: parent.as_ref().map_or(1, |parent| parent.depth + 1),
            size,
            created: self.store.now(),
            description: description.to_owned(),
        };
        self.store.commit_snapshot(&self.session, &row, &active.state_path())?;
        Ok(Snapshot { id: row.id, parent: parent.map(Arc::new), depth: row.depth, created: row.created })
    }
}

/// About the bytes that a tree takes on disk: whole blocks of 4 KiB, every inode once.
fn disk_size(tree: BorrowedFd<'_>) -> io::Result<u64> {
    const BLOCK: u64 = 4096;
    let total = AtomicU64::new(BLOCK);
    let linked = Mutex::new(HashSet::new());
    rbuild_fs::walk(&Root::from_fd(tree.try_clone_to_owned()?), Path::new(""), &|_, stat| {
        let again =
            stat.kind != Kind::Dir && stat.nlink > 1 && !linked.lock().unwrap_or_else(PoisonError::into_inner).insert(stat.ino);
        if !again {
            total.fetch_add(stat.size.div_ceil(BLOCK) * BLOCK, Ordering::Relaxed);
        }
        Enter::Through
    })?;
    Ok(total.into_inner())
}

/// Views by snapshot: those that somebody holds, and the last few.
#[derive(Debug, Default)]
pub(crate) struct ViewCache {
    views: Mutex<Views>,
}

#[derive(Debug, Default)]
struct Views {
    held: HashMap<SnapshotId, Weak<View>>,
    recent: VecDeque<Arc<View>>,
}

impl ViewCache {
    /// The view of a snapshot, made if nobody has it.
    pub(crate) fn get(&self, id: &SnapshotId, make: impl FnOnce() -> Result<View>) -> Result<Arc<View>> {
        if let Some(view) = self.lock().held.get(id).and_then(Weak::upgrade) {
            return Ok(view);
        }
        let made = Arc::new(make()?);
        let (view, old) = {
            let mut views = self.lock();
            // Another thread may have been faster; then its view is the one.
            let view = views.held.get(id).and_then(Weak::upgrade).unwrap_or(made);
            views.held.retain(|_, held| held.strong_count() > 0);
            views.held.insert(id.clone(), Arc::downgrade(&view));
            views.recent.push_back(Arc::clone(&view));
            let old = if views.recent.len() > RECENT { views.recent.pop_front() } else { None };
            (view, old)
        };
        // Unmounts, which takes a while and needs no lock.
        drop(old);
        Ok(view)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
