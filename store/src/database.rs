//! The SQLite file: its schema, its settings and who may write when.
//!
//! Writers of one process take turns at one connection and begin with IMMEDIATE (an upgrade from a read would return SQLITE_BUSY at
//! once, whatever the timeout); readers have a small pool. Both locks are leaves: nothing else is locked or waited for under them,
//! but for the database's own write lock.
//!
//! The last connection to close leaves the write-ahead log as it is: SQLite would sync twice there, in every command. The log goes
//! into the file when somebody calls [`Database::checkpoint`] off the hot path, or when it has a thousand pages.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::InStep;
use crate::{Result, StoreError};

/// Name of the file in the state directory.
pub(crate) const FILE: &str = "db.sqlite";
/// Steps from each version of the schema (`user_version`) to the next, the first one from an empty file.
const MIGRATIONS: [&str; 1] = [FIRST_SCHEMA];
/// Connections for reading that are kept open.
const KEPT_READERS: usize = 4;

const FIRST_SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL, diff_id TEXT,
    boot TEXT NOT NULL, durable INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_volatile ON blobs (boot) WHERE durable = 0;
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY, parent TEXT, depth INTEGER NOT NULL, size INTEGER NOT NULL, created INTEGER NOT NULL,
    used INTEGER NOT NULL, description TEXT NOT NULL, boot TEXT NOT NULL, durable INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_volatile ON snapshots (boot) WHERE durable = 0;
CREATE TABLE chains (chain TEXT PRIMARY KEY, snapshot TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE layers (
    snapshot TEXT NOT NULL, times TEXT NOT NULL, codec TEXT NOT NULL, level INTEGER NOT NULL, format INTEGER NOT NULL,
    diff_id TEXT NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, media_type TEXT NOT NULL,
    PRIMARY KEY (snapshot, times, codec, level, format)
) STRICT, WITHOUT ROWID;
CREATE INDEX layers_blob ON layers (blob);
CREATE TABLE images (manifest TEXT PRIMARY KEY, created INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE names (reference TEXT PRIMARY KEY, manifest TEXT NOT NULL, created INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX names_manifest ON names (manifest);
CREATE TABLE links (
    parent BLOB NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL, op BLOB NOT NULL, selector BLOB NOT NULL,
    child BLOB NOT NULL, PRIMARY KEY (parent, input, output, op, selector, child)
) STRICT, WITHOUT ROWID;
CREATE TABLE results (
    record BLOB NOT NULL, result TEXT NOT NULL, snapshot TEXT, blob TEXT, created INTEGER NOT NULL,
    boot TEXT NOT NULL, durable INTEGER NOT NULL, PRIMARY KEY (record, result)
) STRICT, WITHOUT ROWID;
CREATE INDEX results_volatile ON results (boot) WHERE durable = 0;
CREATE TABLE selections (
    snapshot TEXT NOT NULL, selector BLOB NOT NULL, content BLOB NOT NULL, PRIMARY KEY (snapshot, selector)
) STRICT, WITHOUT ROWID;
CREATE TABLE facts (
    namespace TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
    session TEXT NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (session, kind, id)
) STRICT, WITHOUT ROWID;
";

/// How SQLite keeps its journal, by what the file system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journal {
    /// Write-ahead log: needs shared memory maps, so a local file system.
    Wal,
    /// Rollback journal, truncated after each transaction: works anywhere.
    Truncate,
}

impl Journal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Journal::Wal => "wal",
            Journal::Truncate => "truncate",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Journal> {
        match text {
            "wal" => Some(Journal::Wal),
            "truncate" => Some(Journal::Truncate),
            _ => None,
        }
    }
}

/// Makes the file with its schema; idempotent, because a process may die before the format file is written.
pub(crate) fn create(root: &Path) -> Result<Journal> {
    let path = root.join(FILE);
    let mut connection = Connection::open_with_flags(&path, flags() | OpenFlags::SQLITE_OPEN_CREATE).step("be created")?;
    connection.busy_timeout(Duration::from_secs(30)).step("be configured")?;
    let journal = choose_journal(&connection)?;
    transact(&mut connection, "write its schema", migrate)?;
    Ok(journal)
}

/// WAL where it works. SQLite answers with the mode that it has, or fails where shared maps are refused.
fn choose_journal(connection: &Connection) -> Result<Journal> {
    let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
    if mode.is_ok_and(|mode| mode == "wal") {
        return Ok(Journal::Wal);
    }
    connection.query_row("PRAGMA journal_mode = TRUNCATE", [], |row| row.get::<_, String>(0)).step("choose its journal")?;
    Ok(Journal::Truncate)
}

/// Brings the schema from the version it has to ours. Another process may have done so meanwhile.
fn migrate(transaction: &Transaction<'_>) -> Result<()> {
    let found = version(transaction)?;
    for (next, sql) in (1_u32..).zip(MIGRATIONS).skip(found) {
        transaction.execute_batch(sql).step("write its schema")?;
        transaction.pragma_update(None, "user_version", next).step("write its version")?;
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<usize> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).step("read its version")?;
    Ok(version as usize)
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    journal: Journal,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Database {
    pub(crate) fn open(root: &Path, journal: Journal) -> Result<Database> {
        let path = root.join(FILE);
        let mut connection = connect(&path, journal)?;
        let found = version(&connection)?;
        if found > MIGRATIONS.len() {
            let reason = format!("database version {found}, this rbuild knows {}", MIGRATIONS.len());
            return Err(StoreError::UnknownFormat { path: root.to_owned(), reason });
        }
        if found < MIGRATIONS.len() {
            transact(&mut connection, "be brought up to date", migrate)?;
        }
        Ok(Database { path, journal, writer: Mutex::new(connection), readers: Mutex::new(Vec::new()) })
    }

    /// Runs `body` in one IMMEDIATE transaction; an error rolls it back. `body` may do short file operations (a rename), nothing else.
    pub(crate) fn write<T>(&self, step: &'static str, body: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = held(&self.writer);
        transact(&mut connection, step, body)
    }

    /// As `write`, and the commit is on the disk when it returns: what is deleted must not come back after a power cut, because its
    /// files go next.
    pub(crate) fn write_synced<T>(&self, step: &'static str, body: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = held(&self.writer);
        connection.execute_batch("PRAGMA synchronous = FULL").step(step)?;
        let result = transact(&mut connection, step, body);
        connection.execute_batch(self.synchronous()).step(step)?;
        result
    }

    /// Runs `body` on a connection of the reader pool, or on the writer's when that is idle: a small command then opens only one. Each
    /// statement sees a consistent state.
    pub(crate) fn read<T>(&self, body: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let pooled = held(&self.readers).pop();
        let connection = match (pooled, self.writer.try_lock()) {
            (Some(connection), _) => connection,
            (None, Ok(writer)) => return body(&writer),
            (None, Err(_busy)) => connect(&self.path, self.journal)?,
        };
        let result = body(&connection);
        let mut readers = held(&self.readers);
        if readers.len() < KEPT_READERS {
            readers.push(connection);
        }
        result
    }

    /// Bytes of the write-ahead log.
    pub(crate) fn log_size(&self) -> u64 {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        fs_err::metadata(PathBuf::from(path)).map_or(0, |file| file.len())
    }

    /// Writes the log into the file, as far as readers let it, and syncs both; then cuts the log when all of it was written. Only the
    /// cutting keeps writers waiting, and it has nothing to sync.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let connection = held(&self.writer);
        let (log, done) = connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
            .step("write its log back")?;
        if log != done {
            return Ok(());
        }
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).step("cut its log")
    }

    fn synchronous(&self) -> &'static str {
        synchronous(self.journal)
    }
}

/// With a rollback journal NORMAL could corrupt the file at a power cut; with a WAL it can only lose the last transactions.
fn synchronous(journal: Journal) -> &'static str {
    match journal {
        Journal::Wal => "PRAGMA synchronous = NORMAL",
        Journal::Truncate => "PRAGMA synchronous = FULL",
    }
}

fn connect(path: &Path, journal: Journal) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags()).step("be opened")?;
    connection.busy_timeout(Duration::from_secs(30)).step("be configured")?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).step("be configured")?;
    connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 67108864;").step("be configured")?;
    connection.execute_batch(synchronous(journal)).step("be configured")?;
    if journal == Journal::Truncate {
        connection.query_row("PRAGMA journal_mode = TRUNCATE", [], |_| Ok(())).step("choose its journal")?;
    }
    Ok(connection)
}

fn transact<T>(connection: &mut Connection, step: &'static str, body: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).step(step)?;
    let value = body(&transaction)?;
    transaction.commit().step(step)?;
    Ok(value)
}

/// A panic in another thread leaves a connection whose transaction was rolled back: it is usable.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
