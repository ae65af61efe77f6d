//! What is remembered beside results: digests of selections, small values, and where files of other crates are kept.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, params};

use crate::error::{AtPath, InStep};
use crate::{Result, SnapshotId, Store};

impl Store {
    /// Digest of what `selector` takes of an immutable snapshot, if it was noted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn selection(&self, snapshot: &SnapshotId, selector: &[u8; 32]) -> Result<Option<[u8; 32]>> {
        self.database().read(|connection| {
            connection
                .prepare_cached("SELECT content FROM selections WHERE snapshot = ?1 AND selector = ?2")
                .and_then(|mut statement| statement.query_row(params![snapshot.0, selector], |row| row.get(0)).optional())
                .step("look up a selection")
        })
    }

    /// Notes the digest of a selection. Idempotent.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_selection(&self, snapshot: &SnapshotId, selector: &[u8; 32], content: &[u8; 32]) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO selections (snapshot, selector, content) VALUES (?1, ?2, ?3)";
        self.database().write("note a selection", |transaction| {
            transaction
                .prepare_cached(sql)
                .and_then(|mut statement| statement.execute(params![snapshot.0, selector, content]))
                .step("note a selection")?;
            Ok(())
        })
    }

    /// A small value (a URL's validators …) under a namespace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn get_value(&self, namespace: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.database().read(|connection| {
            connection
                .prepare_cached("SELECT value FROM facts WHERE namespace = ?1 AND key = ?2")
                .and_then(|mut statement| statement.query_row(params![namespace, key], |row| row.get(0)).optional())
                .step("look up a value")
        })
    }

    /// Sets a small value; the last one wins.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_value(&self, namespace: &str, key: &[u8], value: &[u8]) -> Result<()> {
        self.database().write("set a value", |transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO facts (namespace, key, value) VALUES (?1, ?2, ?3)")
                .and_then(|mut statement| statement.execute(params![namespace, key, value]))
                .step("set a value")?;
            Ok(())
        })
    }

    /// Where the digest memo of one context root is kept: `contexts/<hash of the root path>`.
    #[must_use]
    pub fn context_memo_path(&self, context_root: &Path) -> PathBuf {
        self.root().join("contexts").join(hashed(context_root.as_os_str().as_bytes()))
    }

    /// `logs/<name>`: kept output of one step. A name that is not plain is hashed.
    #[must_use]
    pub fn log_path(&self, name: &str) -> PathBuf {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.';
        let usable = !name.is_empty() && !name.starts_with('.') && name.len() <= 128 && name.bytes().all(plain);
        self.root().join("logs").join(if usable { name.to_owned() } else { hashed(name.as_bytes()) })
    }

    /// `cache/<hash of id>`: directory of one cache mount, made if needed. No collector takes it away while this store is open.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn cache_mount_dir(&self, id: &str) -> Result<PathBuf> {
        self.hold_cache_mounts()?;
        let path = self.root().join("cache").join(hashed(id.as_bytes()));
        fs_err::create_dir_all(&path).at("create", &path)?;
        Ok(path)
    }
}

fn hashed(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
