//! Layers that were made from snapshots: a layer is made once for each key.

use rbuild_oci::{DiffId, Digest, MediaType};
use rusqlite::{OptionalExtension, Row, params};

use crate::blob::{parse_digest, signed, unsigned};
use crate::error::InStep;
use crate::{Result, SnapshotId, Store};

/// What a layer was made with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerKey {
    /// Whose changes it has.
    pub snapshot: SnapshotId,
    /// Canonical text of the time policy: `default`, `clamp:<seconds>`.
    pub time_policy: String,
    /// `none`, `gzip`, `zstd`
    pub codec: String,
    /// The codec's level.
    pub level: i32,
    /// Version of tar writer and encoder.
    pub format: u32,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// Blob of the (compressed) layer. With codec `none` it need not be stored: it can be made again from the snapshot.
    pub blob: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// What the blob is.
    pub media_type: MediaType,
}

impl Store {
    /// The layer that was made with this key, if any. Its blob may have been collected since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn layer(&self, key: &LayerKey) -> Result<Option<LayerRow>> {
        let LayerKey { snapshot, time_policy, codec, level, format } = key;
        let sql = "SELECT diff_id, blob, size, media_type FROM layers
                   WHERE snapshot = ?1 AND times = ?2 AND codec = ?3 AND level = ?4 AND format = ?5";
        let found = self.database().read(|connection| {
            connection
                .prepare_cached(sql)
                .and_then(|mut statement| {
                    statement.query_row(params![snapshot.0, time_policy, codec, level, format], |row| columns(row, 0)).optional()
                })
                .step("look up a layer")
        })?;
        found.map(Columns::layer).transpose()
    }

    /// Notes a layer. Idempotent.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_layer(&self, key: &LayerKey, row: &LayerRow) -> Result<()> {
        let LayerKey { snapshot, time_policy, codec, level, format } = key;
        let LayerRow { diff_id, blob, size, media_type } = row;
        let sql = "INSERT OR REPLACE INTO layers (snapshot, times, codec, level, format, diff_id, blob, size, media_type)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let (diff_id, blob, media_type) = (diff_id.to_string(), blob.to_string(), media_type.to_string());
        self.database().write("note a layer", |transaction| {
            let values = params![snapshot.0, time_policy, codec, level, format, diff_id, blob, signed(*size), media_type];
            transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).step("note a layer")?;
            Ok(())
        })
    }

    /// A snapshot that a layer blob was made from, with the key, so that a blob that is not stored can be made again.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn layer_by_blob(&self, blob: &Digest) -> Result<Option<(LayerKey, LayerRow)>> {
        let sql =
            "SELECT snapshot, times, codec, level, format, diff_id, blob, size, media_type FROM layers WHERE blob = ?1 LIMIT 1";
        let found = self.database().read(|connection| {
            connection
                .prepare_cached(sql)
                .and_then(|mut statement| {
                    statement.query_row([blob.to_string()], |row| Ok((key(row)?, columns(row, 5)?))).optional()
                })
                .step("look up a layer")
        })?;
        found.map(|(key, columns)| Ok((key, columns.layer()?))).transpose()
    }
}

/// A row whose texts are not parsed yet.
struct Columns {
    diff_id: String,
    blob: String,
    size: u64,
    media_type: String,
}

impl Columns {
    fn layer(self) -> Result<LayerRow> {
        let Columns { diff_id, blob, size, media_type } = self;
        let media_type = MediaType::from(media_type.as_str());
        Ok(LayerRow { diff_id: DiffId(parse_digest(&diff_id)?), blob: parse_digest(&blob)?, size, media_type })
    }
}

fn columns(row: &Row<'_>, first: usize) -> rusqlite::Result<Columns> {
    Ok(Columns {
        diff_id: row.get(first)?,
        blob: row.get(first + 1)?,
        size: unsigned(row.get(first + 2)?),
        media_type: row.get(first + 3)?,
    })
}

fn key(row: &Row<'_>) -> rusqlite::Result<LayerKey> {
    Ok(LayerKey {
        snapshot: SnapshotId(row.get(0)?),
        time_policy: row.get(1)?,
        codec: row.get(2)?,
        level: row.get(3)?,
        format: row.get(4)?,
    })
}
