//! Sessions: this process's presence, with the leases and the staging that die with it.
//!
//! `sessions/<id>/lock` is held by flock for as long as the process lives. A session whose lock can be had is dead, whoever asks, also
//! from another pid namespace; its leases do not count any more and its directory is garbage.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;
use rbuild_oci::Digest;
use rusqlite::{Connection, params};

use crate::database::held;
use crate::error::{AtPath, InStep};
use crate::lock::{self, LockFile};
use crate::{BlobStat, BlobWriter, Result, SnapshotId, Store, StoreError, blob, disk, snapshot};

/// What can be leased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// One blob, and nothing that it refers to.
    Blob(Digest),
    /// A snapshot, and with it its parents.
    Snapshot(SnapshotId),
    /// An image by its manifest or index, and with it everything that it reaches.
    Image(Digest),
}

impl Resource {
    pub(crate) const BLOB: i64 = 1;
    pub(crate) const SNAPSHOT: i64 = 2;
    pub(crate) const IMAGE: i64 = 3;

    fn row(&self) -> (i64, String) {
        match self {
            Resource::Blob(digest) => (Resource::BLOB, digest.to_string()),
            Resource::Snapshot(id) => (Resource::SNAPSHOT, id.0.clone()),
            Resource::Image(digest) => (Resource::IMAGE, digest.to_string()),
        }
    }
}

/// This process's presence: `sessions/<random>/` with a flocked file. Its leases and staging die with it. Shared by Arc.
#[derive(Debug)]
pub struct Session {
    presence: Arc<Presence>,
}

/// What must live as long as anything that writes into the session's staging.
#[derive(Debug)]
pub(crate) struct Presence {
    store: Store,
    id: String,
    dir: PathBuf,
    next: AtomicU64,
    /// What has a lease row already: a row of a living session never goes.
    leased: Mutex<BTreeSet<Resource>>,
    _lock: LockFile,
}

impl Store {
    /// Makes a session: its directory and lock. Costs a mkdir and a flock.
    ///
    /// # Errors
    /// When the directory cannot be made or locked.
    pub fn session(&self) -> Result<Arc<Session>> {
        let sessions = self.root().join("sessions");
        loop {
            let id = random_name()?;
            let dir = sessions.join(&id);
            fs_err::create_dir(&dir).at("create", &dir)?;
            // A collector may take the directory away before its lock is held: then it is made again under another name.
            match LockFile::try_now(&dir.join("lock")) {
                Ok(Some(lock)) => {
                    let leased = Mutex::new(BTreeSet::new());
                    let presence = Presence { store: self.clone(), id, dir, next: AtomicU64::new(0), leased, _lock: lock };
                    return Ok(Arc::new(Session { presence: Arc::new(presence) }));
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("lock", &dir),
            }
        }
    }
}

impl Session {
    /// A new empty directory in this session's staging, on the same file system as blobs and snapshots.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn staging_dir(&self) -> Result<PathBuf> {
        let path = self.presence.staging_name("dir");
        fs_err::create_dir(&path).at("create", &path)?;
        Ok(path)
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// When its staging file cannot be made.
    pub fn blob_writer(&self) -> Result<BlobWriter> {
        BlobWriter::new(&self.presence, rbuild_oci::Algorithm::Sha256)
    }

    /// Begins a blob that is named by another algorithm than SHA-256.
    ///
    /// # Errors
    /// When its staging file cannot be made.
    pub fn blob_writer_with(&self, algorithm: rbuild_oci::Algorithm) -> Result<BlobWriter> {
        BlobWriter::new(&self.presence, algorithm)
    }

    /// Stores a small blob at once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobStat> {
        use std::io::Write;
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).at("write", &self.presence.dir)?;
        writer.finish(None)
    }

    /// Leases what exists, in the transaction that looks it up; false when it does not (any more).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn lease(&self, resource: &Resource) -> Result<bool> {
        if self.presence.has_leased(resource) {
            return Ok(true);
        }
        let store = &self.presence.store;
        let exists = store.database().write("lease", |transaction| {
            let exists = match resource {
                Resource::Blob(digest) | Resource::Image(digest) => blob::stored(store, transaction, digest)?.is_some(),
                Resource::Snapshot(id) => snapshot::row(transaction, id)?.is_some(),
            };
            if exists {
                self.presence.insert_lease(transaction, resource)?;
            }
            Ok(exists)
        })?;
        if exists {
            self.presence.remember(resource);
        }
        Ok(exists)
    }

    /// A fresh snapshot id.
    #[must_use]
    pub fn new_snapshot_id(&self) -> SnapshotId {
        let number = self.presence.next.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::hash(format!("{} {number}", self.presence.id).as_bytes());
        SnapshotId(HEXLOWER.encode(&hash.as_bytes()[..16]))
    }

    /// The store that this is a session of.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.presence.store
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }
}

impl Presence {
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A name in the staging that nothing has yet.
    pub(crate) fn staging_name(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn has_leased(&self, resource: &Resource) -> bool {
        held(&self.leased).contains(resource)
    }

    /// Inserts the row in the caller's transaction; `remember` it once that is committed.
    pub(crate) fn insert_lease(&self, connection: &Connection, resource: &Resource) -> Result<()> {
        let (kind, id) = resource.row();
        connection
            .prepare_cached("INSERT OR IGNORE INTO leases (session, kind, id) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![self.id, kind, id]))
            .step("lease")?;
        Ok(())
    }

    /// Notes that the row is committed.
    pub(crate) fn remember(&self, resource: &Resource) {
        held(&self.leased).insert(resource.clone());
    }
}

impl Drop for Presence {
    /// What fails here is found by the next `prune`, because the lock goes with the process.
    fn drop(&mut self) {
        let released = self.store.database().write("release leases", |transaction| {
            transaction.execute("DELETE FROM leases WHERE session = ?1", [&self.id]).step("release leases")?;
            Ok(())
        });
        if let Err(error) = released {
            tracing::debug!(%error, "leases stay for the collector");
        }
        if let Err(error) = disk::remove_tree(&self.dir) {
            tracing::debug!(%error, "staging stays for the collector");
        }
    }
}

/// Whether a process holds the session's lock.
pub(crate) fn is_alive(root: &Path, id: &str) -> Result<bool> {
    let path = root.join("sessions").join(id).join("lock");
    lock::is_held(&path).at("test the lock", &path)
}

/// 128 random bits in hexadecimal.
pub(crate) fn random_name() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(StoreError::Random)?;
    Ok(HEXLOWER.encode(&bytes))
}
