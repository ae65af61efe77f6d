//! Blobs: content named by its digest, in `blobs/<algorithm>/<hex>`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rbuild_oci::{Algorithm, DiffId, Digest, Digester};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{AtPath, InStep};
use crate::session::Presence;
use crate::{Resource, Result, Store, StoreError};

/// A stored blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobStat {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Writes one blob into the session's staging; [`BlobWriter::finish`] verifies, moves it into place atomically and leases it.
/// Dropping it throws the bytes away.
#[derive(Debug)]
pub struct BlobWriter {
    presence: Arc<Presence>,
    path: PathBuf,
    file: BufWriter<File>,
    digester: Digester,
    size: u64,
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buf)?;
        self.digester.update(&buf[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter {
    pub(crate) fn new(presence: &Arc<Presence>, algorithm: Algorithm) -> Result<BlobWriter> {
        let path = presence.staging_name("blob");
        let file = fs_err::OpenOptions::new().write(true).create_new(true).open(&path).at("create", &path)?;
        Ok(BlobWriter {
            presence: Arc::clone(presence),
            file: BufWriter::with_capacity(128 * 1024, file.into_parts().0),
            path,
            digester: Digester::new(algorithm),
            size: 0,
        })
    }

    /// Verifies against `expected` if given; places and leases the blob. A blob that is there already is fine. Not synced: see
    /// [`Store::make_durable`].
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], or when the file cannot be written or moved; nothing becomes visible then.
    pub fn finish(mut self, expected: Option<&Digest>) -> Result<BlobStat> {
        self.file.flush().at("write", &self.path)?;
        let digest = self.digester.clone().finish();
        if let Some(expected) = expected
            && *expected != digest
        {
            return Err(StoreError::DigestMismatch { expected: expected.clone(), actual: digest });
        }
        let stat = BlobStat { digest, size: self.size };
        let resource = Resource::Blob(stat.digest.clone());
        let store = self.presence.store();
        store.database().write("store a blob", |transaction| {
            if stored(store, transaction, &stat.digest)? != Some(stat.size) {
                self.place(transaction, &stat)?;
            }
            self.presence.insert_lease(transaction, &resource)
        })?;
        self.presence.remember(&resource);
        Ok(stat)
    }

    /// A file without a row may be there, from before a power cut: it is not trusted but replaced.
    fn place(&self, connection: &Connection, stat: &BlobStat) -> Result<()> {
        let store = self.presence.store();
        let path = store.blob_path(&stat.digest);
        fs_err::rename(&self.path, &path).at("place", &path)?;
        let sql = "INSERT OR REPLACE INTO blobs (digest, size, created, used, boot, durable) VALUES (?1, ?2, ?3, ?3, ?4, 0)";
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.execute(params![stat.digest.to_string(), signed(stat.size), store.now(), store.boot()])
            })
            .step("store a blob")?;
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "a staging file stays until the session ends");
        }
    }
}

impl Store {
    /// Whether the blob is stored now. Without a lease it may be gone a moment later.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        self.database().read(|connection| Ok(stored(self, connection, digest)?.is_some()))
    }

    /// Size and digest of a stored blob.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobStat>> {
        let size = self.database().read(|connection| stored(self, connection, digest))?;
        Ok(size.map(|size| BlobStat { digest: digest.clone(), size }))
    }

    /// Opens a blob that the caller holds a lease of (or reaches from an image), `None` if it is not stored.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>> {
        if !self.has_blob(digest)? {
            return Ok(None);
        }
        let path = self.blob_path(digest);
        match fs_err::File::open(&path) {
            Ok(file) => Ok(Some(file.into_parts().0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("open", &path),
        }
    }

    /// Whole blob, at most `limit` bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] beyond the limit, or when it cannot be read.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open_blob(digest)? else { return Ok(None) };
        read_bounded(file, digest, limit, &self.blob_path(digest)).map(Some)
    }

    /// Notes the diff id of a compressed layer that was loaded.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_diff_id(&self, blob: &Digest, diff_id: &DiffId) -> Result<()> {
        self.database().write("note a diff id", |transaction| {
            transaction
                .prepare_cached("UPDATE blobs SET diff_id = ?2 WHERE digest = ?1")
                .and_then(|mut statement| statement.execute([blob.to_string(), diff_id.to_string()]))
                .step("note a diff id")?;
            Ok(())
        })
    }

    /// The diff id of a stored layer blob, where it was noted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn diff_id(&self, blob: &Digest) -> Result<Option<DiffId>> {
        let text = self.database().read(|connection| {
            connection
                .prepare_cached("SELECT diff_id FROM blobs WHERE digest = ?1")
                .and_then(|mut statement| {
                    statement.query_row([blob.to_string()], |row| row.get::<_, Option<String>>(0)).optional()
                })
                .step("look up a diff id")
        })?;
        text.flatten().map(|text| parse_digest(&text).map(DiffId)).transpose()
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }
}

/// Reads a blob's file to its end.
pub(crate) fn read_bounded(file: File, digest: &Digest, limit: u64, path: &std::path::Path) -> Result<Vec<u8>> {
    let size = file.metadata().at("read", path)?.len();
    if size > limit {
        return Err(StoreError::TooLarge { digest: digest.clone(), size, limit });
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Size of a blob that has both its row and its file. Somebody may have deleted the file by hand.
pub(crate) fn stored(store: &Store, connection: &Connection, digest: &Digest) -> Result<Option<u64>> {
    let size: Option<i64> = connection
        .prepare_cached("SELECT size FROM blobs WHERE digest = ?1")
        .and_then(|mut statement| statement.query_row([digest.to_string()], |row| row.get(0)).optional())
        .step("look up a blob")?;
    let Some(size) = size.map(unsigned) else { return Ok(None) };
    match fs_err::metadata(store.blob_path(digest)) {
        Ok(file) if file.len() == size => Ok(Some(size)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", &store.blob_path(digest)),
    }
}

/// SQLite's integers are signed; sizes stay far below the limit.
pub(crate) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The other way round.
pub(crate) fn unsigned(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

/// Reads a digest out of a row.
pub(crate) fn parse_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|_source| StoreError::BadRow { what: "digest", text: text.to_owned() })
}
