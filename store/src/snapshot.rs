//! Snapshots' rows and directories, and the chains of unpacked images that lead to them.

use std::path::{Path, PathBuf};

use rbuild_oci::ChainId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::blob::{signed, unsigned};
use crate::error::{AtPath, InStep};
use crate::{Resource, Result, Session, Store, StoreError};

/// A snapshot's name: 16 random bytes in hexadecimal, also its directory's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub String);

impl std::fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A committed snapshot's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Its name.
    pub id: SnapshotId,
    /// The snapshot that it changes.
    pub parent: Option<SnapshotId>,
    /// Number of snapshots in the chain, 1 for a base.
    pub depth: u32,
    /// Bytes on disk of its own directory.
    pub size: u64,
    /// When it was committed: nanoseconds since the epoch.
    pub created: i64,
    /// Free text for `du`.
    pub description: String,
}

impl Store {
    /// One row. Without a lease it may be gone a moment later.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Option<SnapshotRow>> {
        self.database().read(|connection| row(connection, id))
    }

    /// A row and all its parents, itself first; and leases the first (which keeps the others), in one transaction. `None` when it is
    /// gone.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn acquire_snapshot(&self, session: &Session, id: &SnapshotId) -> Result<Option<Vec<SnapshotRow>>> {
        let resource = Resource::Snapshot(id.clone());
        if session.presence().has_leased(&resource) {
            return self.database().read(|connection| with_parents(connection, id));
        }
        let rows = self.database().write("lease a snapshot", |transaction| {
            let rows = with_parents(transaction, id)?;
            if rows.is_some() {
                session.presence().insert_lease(transaction, &resource)?;
                touch(transaction, id, self.now())?;
            }
            Ok(rows)
        })?;
        if rows.is_some() {
            session.presence().remember(&resource);
        }
        Ok(rows)
    }

    /// Directory of a committed snapshot.
    #[must_use]
    pub fn snapshot_dir(&self, id: &SnapshotId) -> PathBuf {
        self.root().join("snapshots").join(&id.0)
    }

    /// Moves `staged` (a directory in the session's staging) to `snapshots/<id>` and inserts and leases the row: one atomic step.
    ///
    /// # Errors
    /// When the parent is not there, or the directory cannot be moved; nothing becomes visible then.
    pub fn commit_snapshot(&self, session: &Session, row: &SnapshotRow, staged: &Path) -> Result<()> {
        let resource = Resource::Snapshot(row.id.clone());
        let place = self.snapshot_dir(&row.id);
        self.database().write("commit a snapshot", |transaction| {
            if let Some(parent) = &row.parent
                && self::row(transaction, parent)?.is_none()
            {
                return Err(StoreError::Missing { what: "snapshot", id: parent.0.clone() });
            }
            insert(transaction, row, self.boot())?;
            session.presence().insert_lease(transaction, &resource)?;
            fs_err::rename(staged, &place).at("place", &place)
        })?;
        session.presence().remember(&resource);
        Ok(())
    }

    /// The snapshot of an unpacked image's layers, with its parents, leased as by [`Store::acquire_snapshot`].
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn acquire_chain(&self, session: &Session, chain: &ChainId) -> Result<Option<Vec<SnapshotRow>>> {
        let found = self.database().read(|connection| chain_snapshot(connection, &chain.to_string()))?;
        match found {
            Some(id) => self.acquire_snapshot(session, &id),
            None => Ok(None),
        }
    }

    /// The snapshot of an unpacked image's layers, not leased: for showing sizes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chain(&self, chain: &ChainId) -> Result<Option<SnapshotRow>> {
        self.database().read(|connection| match chain_snapshot(connection, &chain.to_string())? {
            Some(id) => row(connection, &id),
            None => Ok(None),
        })
    }

    /// Notes which snapshot has the files of this stack of layers. Idempotent; the last one wins.
    ///
    /// # Errors
    /// When there is no such snapshot, or the database cannot be written.
    pub fn set_chain(&self, chain: &ChainId, snapshot: &SnapshotId) -> Result<()> {
        self.database().write("note a chain", |transaction| {
            if row(transaction, snapshot)?.is_none() {
                return Err(StoreError::Missing { what: "snapshot", id: snapshot.0.clone() });
            }
            transaction
                .prepare_cached("INSERT OR REPLACE INTO chains (chain, snapshot) VALUES (?1, ?2)")
                .and_then(|mut statement| statement.execute([&chain.to_string(), &snapshot.0]))
                .step("note a chain")?;
            Ok(())
        })
    }
}

const COLUMNS: &str = "id, parent, depth, size, created, description";

/// One row by its id.
pub(crate) fn row(connection: &Connection, id: &SnapshotId) -> Result<Option<SnapshotRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM snapshots WHERE id = ?1"))
        .and_then(|mut statement| statement.query_row([&id.0], read).optional())
        .step("look up a snapshot")
}

/// The snapshot that a chain id leads to.
pub(crate) fn chain_snapshot(connection: &Connection, chain: &str) -> Result<Option<SnapshotId>> {
    connection
        .prepare_cached("SELECT snapshot FROM chains WHERE chain = ?1")
        .and_then(|mut statement| statement.query_row([chain], |row| row.get(0).map(SnapshotId)).optional())
        .step("look up a chain")
}

fn with_parents(connection: &Connection, id: &SnapshotId) -> Result<Option<Vec<SnapshotRow>>> {
    let Some(first) = row(connection, id)? else { return Ok(None) };
    let mut rows = vec![first];
    while let Some(parent) = rows.last().and_then(|row| row.parent.clone()) {
        match row(connection, &parent)? {
            Some(next) => rows.push(next),
            None => return Ok(None),
        }
    }
    Ok(Some(rows))
}

fn read(row: &Row<'_>) -> rusqlite::Result<SnapshotRow> {
    Ok(SnapshotRow {
        id: SnapshotId(row.get(0)?),
        parent: row.get::<_, Option<String>>(1)?.map(SnapshotId),
        depth: row.get(2)?,
        size: unsigned(row.get(3)?),
        created: row.get(4)?,
        description: row.get(5)?,
    })
}

fn insert(connection: &Connection, row: &SnapshotRow, boot: &str) -> Result<()> {
    let SnapshotRow { id, parent, depth, size, created, description } = row;
    let parent = parent.as_ref().map(|parent| &parent.0);
    let sql = "INSERT INTO snapshots (id, parent, depth, size, created, used, description, boot, durable)
               VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, 0)";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params![id.0, parent, depth, signed(*size), created, description, boot]))
        .step("commit a snapshot")?;
    Ok(())
}

fn touch(connection: &Connection, id: &SnapshotId, now: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE snapshots SET used = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![id.0, now]))
        .step("note the use of a snapshot")?;
    Ok(())
}
