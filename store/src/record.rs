//! Cache records: links that lead to them and results that they have. The solver's `Records` is implemented on these, in `builder`.

use rusqlite::{Connection, params};

use crate::error::InStep;
use crate::{Resource, Result, Session, SnapshotId, Store, StoreError, blob, snapshot};

/// One way that a record is reached. Ids are 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLink {
    /// The record that it starts from.
    pub parent: [u8; 32],
    /// Which input of the op.
    pub input: u32,
    /// Which output of the op.
    pub output: u32,
    /// The op.
    pub op: [u8; 32],
    /// What of the parent is read; `None` for all.
    pub selector: Option<[u8; 32]>,
}

impl RecordLink {
    fn selector(&self) -> &[u8] {
        self.selector.as_ref().map_or(&[], |selector| &selector[..])
    }
}

impl Store {
    /// Records that any of `links` leads to, each once, in the order of the links.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn record_children(&self, links: &[RecordLink]) -> Result<Vec<[u8; 32]>> {
        let sql = "SELECT child FROM links WHERE parent = ?1 AND input = ?2 AND output = ?3 AND op = ?4 AND selector = ?5";
        self.database().read(|connection| {
            let run = || -> rusqlite::Result<Vec<[u8; 32]>> {
                let mut statement = connection.prepare_cached(sql)?;
                let mut children = Vec::new();
                for link in links {
                    let RecordLink { parent, input, output, op, selector: _ } = link;
                    let rows = statement.query_map(params![parent, input, output, op, link.selector()], |row| row.get(0))?;
                    for child in rows {
                        let child = child?;
                        if !children.contains(&child) {
                            children.push(child);
                        }
                    }
                }
                Ok(children)
            };
            run().step("follow links")
        })
    }

    /// Adds links to `child`. Idempotent.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record_link(&self, child: &[u8; 32], links: &[RecordLink]) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO links (parent, input, output, op, selector, child) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.database().write("add links", |transaction| {
            let run = || -> rusqlite::Result<()> {
                let mut statement = transaction.prepare_cached(sql)?;
                for link in links {
                    let RecordLink { parent, input, output, op, selector: _ } = link;
                    statement.execute(params![parent, input, output, op, link.selector(), child])?;
                }
                Ok(())
            };
            run().step("add links")
        })
    }

    /// Results of a record with the time they were made, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn record_results(&self, record: &[u8; 32]) -> Result<Vec<(String, i64)>> {
        let sql = "SELECT result, created FROM results WHERE record = ?1 ORDER BY created DESC, result";
        self.database().read(|connection| {
            let run = || -> rusqlite::Result<Vec<_>> {
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map([record], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            };
            run().step("look up results")
        })
    }

    /// Saves a result. `snapshot`: what it keeps alive for as long as the cache keeps the record (`None` for nothing); it must be
    /// leased by the session. Idempotent.
    ///
    /// # Errors
    /// When the snapshot is gone, or the database cannot be written.
    pub fn record_save(
        &self,
        session: &Session,
        record: &[u8; 32],
        result: &str,
        snapshot: Option<&SnapshotId>,
        created: i64,
    ) -> Result<()> {
        self.save(session, record, result, snapshot.map(|id| Resource::Snapshot(id.clone())).as_ref(), created)
    }

    /// As [`Store::record_save`] for a result that is a blob: a downloaded file.
    ///
    /// # Errors
    /// As [`Store::record_save`].
    pub fn record_save_blob(
        &self,
        session: &Session,
        record: &[u8; 32],
        result: &str,
        blob: &rbuild_oci::Digest,
        created: i64,
    ) -> Result<()> {
        self.save(session, record, result, Some(&Resource::Blob(blob.clone())), created)
    }

    fn save(&self, session: &Session, record: &[u8; 32], result: &str, keeps: Option<&Resource>, created: i64) -> Result<()> {
        self.database().write("save a result", |transaction| {
            if let Some(resource) = keeps {
                self.require(transaction, resource)?;
                session.presence().insert_lease(transaction, resource)?;
            }
            let (snapshot, blob) = match keeps {
                Some(Resource::Snapshot(id)) => (Some(id.0.clone()), None),
                Some(Resource::Blob(digest) | Resource::Image(digest)) => (None, Some(digest.to_string())),
                None => (None, None),
            };
            let sql = "INSERT OR REPLACE INTO results (record, result, snapshot, blob, created, boot, durable)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)";
            let values = params![record, result, snapshot, blob, created, self.boot()];
            transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).step("save a result")?;
            Ok(())
        })
    }

    fn require(&self, connection: &Connection, resource: &Resource) -> Result<()> {
        let (found, what, id) = match resource {
            Resource::Snapshot(id) => (snapshot::row(connection, id)?.is_some(), "snapshot", id.0.clone()),
            Resource::Blob(digest) | Resource::Image(digest) => {
                (blob::stored(self, connection, digest)?.is_some(), "blob", digest.to_string())
            }
        };
        if found { Ok(()) } else { Err(StoreError::Missing { what, id }) }
    }

    /// Removes a result that could not be loaded.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record_forget(&self, record: &[u8; 32], result: &str) -> Result<()> {
        self.database().write("forget a result", |transaction| {
            transaction
                .execute("DELETE FROM results WHERE record = ?1 AND result = ?2", params![record, result])
                .step("forget a result")?;
            Ok(())
        })
    }
}
