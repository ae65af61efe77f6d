//! The open state directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::database::{Database, held};
use crate::durable::{self, BootId};
use crate::error::AtPath;
use crate::layout::{self, Format};
use crate::lock::LockFile;
use crate::{Result, StoreError};

/// Nanoseconds since the epoch. Library crates take it, so that tests can say what time it is.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> i64;
}

/// An open state directory. Cheap to clone; several processes may have one open.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    driver: String,
    clock: Arc<dyn Clock>,
    boot: BootId,
    database: Database,
    /// Held from the first use of a cache mount on, so that no collector takes them away from under this process.
    cache_mounts: Mutex<Option<LockFile>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.inner.root).field("driver", &self.inner.driver).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates. `probe` names the snapshot driver and its xattr flavour; it is asked only when the directory is new, and its
    /// answer is written into the format file and returned by [`Store::driver`] ever after.
    ///
    /// # Errors
    /// When the directory cannot be made or read, holds something else, or has a format of another version.
    pub fn open(root: &Path, clock: Arc<dyn Clock>, probe: &dyn Fn(&Path) -> io::Result<String>) -> Result<Store> {
        let boot = BootId::current().at("read", Path::new("/proc/sys/kernel/random/boot_id"))?;
        Store::open_in_boot(root, clock, probe, boot)
    }

    /// As [`Store::open`] with the boot said by the caller.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_in_boot(
        root: &Path,
        clock: Arc<dyn Clock>,
        probe: &dyn Fn(&Path) -> io::Result<String>,
        boot: BootId,
    ) -> Result<Store> {
        let root = std::path::absolute(root).at("find", root)?;
        let format = layout::open_or_create(&root, probe)?;
        Store::with_format(root, format, clock, boot)
    }

    /// Opens a directory that exists; never makes one.
    ///
    /// # Errors
    /// When there is none, and as [`Store::open`].
    pub fn open_existing(root: &Path, clock: Arc<dyn Clock>) -> Result<Store> {
        let boot = BootId::current().at("read", Path::new("/proc/sys/kernel/random/boot_id"))?;
        let root = std::path::absolute(root).at("find", root)?;
        let format = layout::read(&root)?
            .ok_or_else(|| StoreError::Missing { what: "state directory", id: root.display().to_string() })?;
        Store::with_format(root, format, clock, boot)
    }

    fn with_format(root: PathBuf, format: Format, clock: Arc<dyn Clock>, boot: BootId) -> Result<Store> {
        let Format { driver, journal } = format;
        let database = Database::open(&root, journal)?;
        durable::drop_volatile(&database, &boot)?;
        Ok(Store { inner: Arc::new(Inner { root, driver, clock, boot, database, cache_mounts: Mutex::new(None) }) })
    }

    /// The directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Name of the snapshot driver that the directory was made for.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.inner.driver
    }

    /// The clock's time: nanoseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.inner.clock.now()
    }

    /// Says that this process uses cache mounts, for as long as the store is open.
    pub(crate) fn hold_cache_mounts(&self) -> Result<()> {
        let mut lock = held(&self.inner.cache_mounts);
        if lock.is_none() {
            let path = self.cache_lock_path();
            *lock = Some(LockFile::wait_shared(&path).at("lock", &path)?);
        }
        Ok(())
    }

    pub(crate) fn cache_lock_path(&self) -> PathBuf {
        self.inner.root.join("cache.lock")
    }

    pub(crate) fn boot(&self) -> &str {
        &self.inner.boot.0
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }
}
