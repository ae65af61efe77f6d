//! Cache mounts: directories that outlive builds, and who may use them at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rbuild_graph::{CacheMount, CacheSharing, ExecOp, MountKind};
use rbuild_store::{KeyLock, Store};
use tokio_util::sync::CancellationToken;

use crate::WorkError;
use crate::worker::{Inner, blocking};

/// How long to wait before a taken lock is tried again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// Directories of one private cache in use at once.
const MOST_PRIVATE: u32 = 1000;

/// The caches of one step, locked while it lives.
pub(super) struct Caches {
    /// One for each mount of the op, in its order; `None` for other mounts.
    paths: Vec<Option<PathBuf>>,
    _locks: Vec<KeyLock>,
}

impl Caches {
    pub(super) fn paths(&self) -> Vec<Option<PathBuf>> {
        self.paths.clone()
    }
}

/// Locks and makes the directories, in the order of their ids, so that no two steps wait for each other.
pub(super) async fn acquire(worker: &Arc<Inner>, op: &ExecOp, cancel: &CancellationToken) -> Result<Caches, WorkError> {
    let mut wanted: Vec<(usize, &CacheMount)> = op
        .mounts
        .iter()
        .enumerate()
        .filter_map(|(index, mount)| match &mount.kind {
            MountKind::Cache(cache) => Some((index, cache)),
            MountKind::Bind | MountKind::Tmpfs { .. } | MountKind::Secret(_) | MountKind::Ssh(_) => None,
        })
        .collect();
    wanted.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    let mut paths = vec![None; op.mounts.len()];
    let mut locks: Vec<KeyLock> = Vec::new();
    let mut locked: Option<(&str, String)> = None;
    for (index, cache) in wanted {
        // A step that mounts one cache twice has it already.
        let name = match &locked {
            Some((id, name)) if *id == cache.id => name.clone(),
            Some(_) | None => {
                let (name, lock) = lock(worker, cache, cancel).await?;
                locks.extend(lock);
                locked = Some((&cache.id, name.clone()));
                name
            }
        };
        let (store, cache) = (worker.options.snapshotter.store().clone(), cache.clone());
        paths[index] = Some(blocking(move || directory(&store, &name, &cache)).await?);
    }
    Ok(Caches { paths, _locks: locks })
}

/// The directory's name, and the lock on it where others are kept away.
async fn lock(worker: &Inner, cache: &CacheMount, cancel: &CancellationToken) -> Result<(String, Option<KeyLock>), WorkError> {
    // Mode and owner are part of the identity: with others, it is a new cache.
    let id = format!("{}\n{:o} {}:{}", cache.id, cache.mode, cache.uid, cache.gid);
    let store = worker.options.snapshotter.store();
    let try_lock = |id: &str| {
        let name = format!("cache-{}", blake3::hash(id.as_bytes()).to_hex());
        store.try_lock(&name).map_err(|source| WorkError::Store { step: "lock a cache mount", source })
    };
    match cache.sharing {
        CacheSharing::Shared => Ok((id, None)),
        CacheSharing::Private => {
            for number in 0..MOST_PRIVATE {
                let name = if number == 0 { id.clone() } else { format!("{id}\n{number}") };
                if let Some(lock) = try_lock(&name)? {
                    return Ok((name, Some(lock)));
                }
            }
            Err(WorkError::Internal(format!("more than {MOST_PRIVATE} users of the private cache `{}`", cache.id)))
        }
        CacheSharing::Locked => {
            let mut pause = PAUSE.0;
            loop {
                if let Some(lock) = try_lock(&id)? {
                    return Ok((id, Some(lock)));
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE.1),
                    () = cancel.cancelled() => return Err(WorkError::Cancelled),
                }
            }
        }
    }
}

fn directory(store: &Store, name: &str, cache: &CacheMount) -> Result<PathBuf, WorkError> {
    let step = "make a cache mount";
    let path = store.cache_mount_dir(name).map_err(|source| WorkError::Store { step, source })?;
    let failed = |source: std::io::Error| WorkError::State { step, source };
    let is_new = fs_err::read_dir(&path).map_err(failed)?.next().is_none();
    if is_new {
        std::os::unix::fs::chown(&path, Some(cache.uid), Some(cache.gid)).map_err(failed)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(cache.mode);
        fs_err::set_permissions(&path, mode).map_err(failed)?;
    }
    Ok(path)
}
