//! Power cuts: which rows may be trusted after the next boot.
//!
//! Nothing is synced on the way of a build. Rows of blobs, snapshots and results carry the boot they were written in and whether their
//! files are known to be on the disk. Opening in another boot drops the rows that are not; [`Store::make_durable`] makes them so.

use std::io;

use rusqlite::{Connection, Transaction, params};

use crate::database::Database;
use crate::error::{AtPath, InStep};
use crate::{Result, Store, collect};

/// Which boot of the machine this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootId(pub String);

impl BootId {
    /// The kernel's `/proc/sys/kernel/random/boot_id`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn current() -> io::Result<BootId> {
        Ok(BootId(fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned()))
    }
}

/// A log that is longer takes a noticeable part of a millisecond to read at each start.
const LONG_LOG: u64 = 1 << 20;
const TABLES: [&str; 3] = ["blobs", "snapshots", "results"];

/// Drops what a boot before this one left without syncing. One look-up when the boot is the same.
pub(crate) fn drop_volatile(database: &Database, boot: &BootId) -> Result<()> {
    if database.read(last_boot)?.as_ref() == Some(&boot.0) {
        return Ok(());
    }
    database.write("drop what was lost", |transaction| {
        if last_boot(transaction)?.as_ref() == Some(&boot.0) {
            return Ok(());
        }
        for table in TABLES {
            let sql = format!("DELETE FROM {table} WHERE durable = 0 AND boot <> ?1");
            transaction.execute(&sql, [&boot.0]).step("drop what was lost")?;
        }
        collect::drop_orphan_rows(transaction)?;
        transaction.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('boot', ?1)", [&boot.0]).step("note the boot")?;
        Ok(())
    })
}

fn last_boot(connection: &Connection) -> Result<Option<String>> {
    use rusqlite::OptionalExtension;
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'boot'")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .step("read the boot")
}

impl Store {
    /// Whether there is something for [`Store::make_durable`] to do: rows that a power cut would lose, or a long log to write back.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn wants_sync(&self) -> Result<bool> {
        Ok(self.database().log_size() > LONG_LOG || self.has_volatile()?)
    }

    /// Whether rows exist that a power cut would lose.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_volatile(&self) -> Result<bool> {
        self.database().read(|connection| {
            for table in TABLES {
                let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE durable = 0)");
                if connection.query_row(&sql, [], |row| row.get::<_, bool>(0)).step("find volatile rows")? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Makes everything that was committed before the call survive a power cut: syncfs(2) of the state directory's file system, then
    /// marks the rows. May take as long as the disk needs; never on the way of a build (the cli runs it in a process of its own that
    /// outlives the build). Idempotent; several at once do no harm.
    ///
    /// # Errors
    /// When syncing or the database fails; nothing is marked then.
    pub fn make_durable(&self) -> Result<()> {
        let volatile = self.database().read(volatile_rows)?;
        if !volatile.is_empty() {
            let root = fs_err::File::open(self.root()).at("open", self.root())?;
            rustix::fs::syncfs(&root).at("sync", self.root())?;
            self.database().write_synced("mark what is durable", |transaction| volatile.mark(transaction))?;
        }
        if self.database().log_size() > LONG_LOG { self.database().checkpoint() } else { Ok(()) }
    }
}

/// Keys of the rows that a sync covers. `created` tells a row from a later one with the same key.
#[derive(Debug, Default)]
struct Volatile {
    blobs: Vec<(String, i64)>,
    snapshots: Vec<(String, i64)>,
    results: Vec<(Vec<u8>, String, i64)>,
}

fn volatile_rows(connection: &Connection) -> Result<Volatile> {
    let pairs = |sql: &str| -> rusqlite::Result<Vec<(String, i64)>> {
        connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let results = || -> rusqlite::Result<Vec<(Vec<u8>, String, i64)>> {
        connection
            .prepare("SELECT record, result, created FROM results WHERE durable = 0")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    };
    Ok(Volatile {
        blobs: pairs("SELECT digest, created FROM blobs WHERE durable = 0").step("find volatile rows")?,
        snapshots: pairs("SELECT id, created FROM snapshots WHERE durable = 0").step("find volatile rows")?,
        results: results().step("find volatile rows")?,
    })
}

impl Volatile {
    fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.snapshots.is_empty() && self.results.is_empty()
    }

    fn mark(&self, transaction: &Transaction<'_>) -> Result<()> {
        let Volatile { blobs, snapshots, results } = self;
        let run = || -> rusqlite::Result<()> {
            let mut blob = transaction.prepare("UPDATE blobs SET durable = 1 WHERE digest = ?1 AND created = ?2")?;
            for (digest, created) in blobs {
                blob.execute(params![digest, created])?;
            }
            let mut snapshot = transaction.prepare("UPDATE snapshots SET durable = 1 WHERE id = ?1 AND created = ?2")?;
            for (id, created) in snapshots {
                snapshot.execute(params![id, created])?;
            }
            let mut result =
                transaction.prepare("UPDATE results SET durable = 1 WHERE record = ?1 AND result = ?2 AND created = ?3")?;
            for (record, text, created) in results {
                result.execute(params![record, text, created])?;
            }
            Ok(())
        };
        run().step("mark what is durable")
    }
}
