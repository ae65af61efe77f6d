//! Collection: what no name, lease or cache record reaches goes. Safe beside running builds of other processes.
//!
//! First one transaction deletes rows (its commit is on the disk before any file goes, or a power cut would bring rows back without
//! their files), then files without rows move to `trash/`, each inside a transaction that sees no row, then the trash is emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, params};

use crate::error::{AtPath, InStep};
use crate::lock::LockFile;
use crate::reach::{Reached, rows};
use crate::session::{is_alive, random_name};
use crate::{Resource, Result, Store, Usage, UsageKind, disk, layout};

/// How much `prune` removes. Dangling images and garbage always go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Also every cached result that no named image needs, kept logs, context memos and cache mounts.
    pub all: bool,
}

/// What `prune` removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Each thing.
    pub deleted: Vec<Usage>,
    /// Bytes in sum.
    pub reclaimed: u64,
}

impl Store {
    /// Removes what nothing needs. One collection runs at a time; builds go on beside it. Blocking.
    ///
    /// # Errors
    /// When the database or a directory cannot be changed; what was removed until then stays removed.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport> {
        let _turn = self.lock("prune")?;
        let mut report = PruneReport::default();
        // These need no room in the database, which a full disk does not have.
        self.trash_dead_sessions()?;
        self.empty_trash(&BTreeSet::new(), &mut report)?;
        report.deleted.extend(self.delete_all_rows(options)?);
        let mut counted = self.trash_orphan_blobs(&report)?;
        counted.extend(self.trash_orphans(&self.root().join("snapshots"), "snapshots", "id", "", &report)?);
        if options.all {
            self.trash_all("logs")?;
            self.trash_all("contexts")?;
            self.trash_cache_mounts()?;
        }
        self.empty_trash(&counted, &mut report)?;
        layout::keep_reserve(self.root());
        report.reclaimed = report.deleted.iter().map(|usage| usage.size).sum();
        Ok(report)
    }

    /// On a full disk there is no room for the transaction, but what was kept for it.
    fn delete_all_rows(&self, options: &PruneOptions) -> Result<Vec<Usage>> {
        let attempt = || self.database().write_synced("collect", |transaction| self.delete_rows(transaction, options));
        match attempt() {
            Err(error) if error.is_full() && layout::release_reserve(self.root()) => attempt(),
            other => other,
        }
    }

    fn delete_rows(&self, transaction: &Transaction<'_>, options: &PruneOptions) -> Result<Vec<Usage>> {
        self.delete_dead_leases(transaction)?;
        delete_dangling_images(transaction)?;
        let live = self.live(transaction, !options.all)?;
        if options.all {
            delete_results(transaction, &live)?;
        }
        let mut deleted = delete_blobs(transaction, &live)?;
        deleted.extend(delete_snapshots(transaction, &live)?);
        drop_orphan_rows(transaction)?;
        sweep_links(transaction)?;
        Ok(deleted)
    }

    /// A session whose lock nobody holds is dead.
    fn delete_dead_leases(&self, transaction: &Transaction<'_>) -> Result<()> {
        let sessions: Vec<String> = rows(transaction, "SELECT DISTINCT session FROM leases", |row| row.get(0))?;
        for id in sessions {
            if !is_alive(self.root(), &id)? {
                transaction.execute("DELETE FROM leases WHERE session = ?1", [&id]).step("delete dead leases")?;
            }
        }
        Ok(())
    }

    /// Everything that images and leases reach, and with `results` what the cache keeps.
    fn live(&self, connection: &Connection, results: bool) -> Result<Reached> {
        let mut live = Reached::default();
        let images: Vec<String> = rows(connection, "SELECT manifest FROM images", |row| row.get(0))?;
        for manifest in &images {
            live.add_image_or_blob(self, connection, manifest)?;
        }
        live.add_leases(self, connection)?;
        if results {
            live.add_results(connection)?;
        }
        live.add_parents(connection)?;
        if results {
            live.add_made_layers(connection)?;
        }
        Ok(live)
    }

    fn trash_orphan_blobs(&self, report: &PruneReport) -> Result<BTreeSet<String>> {
        let mut counted = BTreeSet::new();
        for algorithm in ["sha256", "sha512"] {
            let dir = self.root().join("blobs").join(algorithm);
            counted.extend(self.trash_orphans(&dir, "blobs", "digest", &format!("{algorithm}:"), report)?);
        }
        Ok(counted)
    }

    /// Moves what is in `dir` and has no row to the trash. Returns the trash names of what the report has already.
    fn trash_orphans(&self, dir: &Path, table: &str, key: &str, prefix: &str, report: &PruneReport) -> Result<BTreeSet<String>> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} = ?1)");
        let has_row = |connection: &Connection, name: &str| -> Result<bool> {
            let id = format!("{prefix}{name}");
            connection
                .prepare_cached(&sql)
                .and_then(|mut statement| statement.query_row([id], |row| row.get(0)))
                .step("find orphans")
        };
        let known: BTreeSet<&str> = report.deleted.iter().map(|usage| usage.id.as_str()).collect();
        let mut counted = BTreeSet::new();
        let names = list(dir)?;
        let suspects: Vec<String> = self.database().read(|connection| {
            let mut suspects = Vec::new();
            for name in names {
                if !has_row(connection, &name)? {
                    suspects.push(name);
                }
            }
            Ok(suspects)
        })?;
        for some in suspects.chunks(64) {
            self.database().write("collect", |transaction| {
                for name in some {
                    if has_row(transaction, name)? {
                        continue;
                    }
                    let trashed = self.trash(&dir.join(name))?;
                    if known.contains(format!("{prefix}{name}").as_str()) {
                        counted.extend(trashed);
                    }
                }
                Ok(())
            })?;
        }
        Ok(counted)
    }

    /// Directories of sessions whose lock can be had.
    fn trash_dead_sessions(&self) -> Result<()> {
        let sessions = self.root().join("sessions");
        for name in list(&sessions)? {
            let dir = sessions.join(name);
            match LockFile::try_now(&dir.join("lock")) {
                Ok(Some(_dead)) => {
                    self.trash(&dir)?;
                }
                Ok(None) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StorageFull) => {}
                Err(error) => return Err(error).at("lock", &dir),
            }
        }
        Ok(())
    }

    /// Only while no process uses any: a process writes there without saying which files.
    fn trash_cache_mounts(&self) -> Result<()> {
        let path = self.cache_lock_path();
        match LockFile::try_now(&path).at("lock", &path)? {
            Some(_alone) => self.trash_all("cache"),
            None => Ok(()),
        }
    }

    fn trash_all(&self, directory: &str) -> Result<()> {
        let dir = self.root().join(directory);
        for name in list(&dir)? {
            self.trash(&dir.join(name))?;
        }
        Ok(())
    }

    /// Moves one thing to the trash under a new name; `None` when it is gone already.
    fn trash(&self, path: &Path) -> Result<Option<String>> {
        let name = random_name()?;
        match fs_err::rename(path, self.root().join("trash").join(&name)) {
            Ok(()) => Ok(Some(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("trash", path),
        }
    }

    /// Removes what is in the trash, counting what the report does not have yet.
    fn empty_trash(&self, counted: &BTreeSet<String>, report: &mut PruneReport) -> Result<()> {
        let trash = self.root().join("trash");
        for name in list(&trash)? {
            let path: PathBuf = trash.join(&name);
            if !counted.contains(&name) {
                let size = disk::size_of(&path).at("measure", &path)?;
                report.deleted.push(Usage::garbage(name, size));
            }
            disk::remove_tree(&path).at("remove", &path)?;
        }
        Ok(())
    }
}

/// Images without a name, unless somebody works with them.
fn delete_dangling_images(transaction: &Transaction<'_>) -> Result<()> {
    let sql = "DELETE FROM images WHERE manifest NOT IN (SELECT manifest FROM names)
               AND manifest NOT IN (SELECT id FROM leases WHERE kind IN (?1, ?2))";
    transaction.execute(sql, [Resource::BLOB, Resource::IMAGE]).step("delete dangling images")?;
    Ok(())
}

fn delete_results(transaction: &Transaction<'_>, live: &Reached) -> Result<()> {
    type Key = (Vec<u8>, String, Option<String>, Option<String>);
    let all: Vec<Key> = rows(transaction, "SELECT record, result, snapshot, blob FROM results", |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    for (record, result, snapshot, blob) in all {
        let kept = snapshot.is_some_and(|id| live.snapshots.contains(&id)) || blob.is_some_and(|id| live.blobs.contains(&id));
        if !kept {
            transaction
                .prepare_cached("DELETE FROM results WHERE record = ?1 AND result = ?2")
                .and_then(|mut statement| statement.execute(params![record, result]))
                .step("delete results")?;
        }
    }
    Ok(())
}

fn delete_blobs(transaction: &Transaction<'_>, live: &Reached) -> Result<Vec<Usage>> {
    let all = rows(transaction, "SELECT digest, size, created, used FROM blobs", |row| {
        Ok(Usage::new(UsageKind::Blob, row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    delete_unless(transaction, all, &live.blobs, "DELETE FROM blobs WHERE digest = ?1")
}

fn delete_snapshots(transaction: &Transaction<'_>, live: &Reached) -> Result<Vec<Usage>> {
    let all = rows(transaction, "SELECT id, size, created, used, description FROM snapshots", |row| {
        let usage = Usage::new(UsageKind::Snapshot, row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Usage { description: row.get(4)?, ..usage })
    })?;
    delete_unless(transaction, all, &live.snapshots, "DELETE FROM snapshots WHERE id = ?1")
}

fn delete_unless(transaction: &Transaction<'_>, all: Vec<Usage>, live: &BTreeSet<String>, sql: &str) -> Result<Vec<Usage>> {
    let mut deleted = Vec::new();
    for usage in all {
        if !live.contains(&usage.id) {
            transaction
                .prepare_cached(sql)
                .and_then(|mut statement| statement.execute([&usage.id]))
                .step("delete what is not needed")?;
            deleted.push(usage);
        }
    }
    Ok(deleted)
}

/// Removes rows that refer to rows which are gone.
pub(crate) fn drop_orphan_rows(connection: &Connection) -> Result<()> {
    let delete = |sql: &str| connection.execute(sql, []).step("drop orphan rows");
    while delete("DELETE FROM snapshots WHERE parent IS NOT NULL AND parent NOT IN (SELECT id FROM snapshots)")? > 0 {}
    for table in ["chains", "layers", "selections"] {
        delete(&format!("DELETE FROM {table} WHERE snapshot NOT IN (SELECT id FROM snapshots)"))?;
    }
    delete("DELETE FROM results WHERE snapshot IS NOT NULL AND snapshot NOT IN (SELECT id FROM snapshots)")?;
    delete("DELETE FROM results WHERE blob IS NOT NULL AND blob NOT IN (SELECT digest FROM blobs)")?;
    delete("DELETE FROM images WHERE manifest NOT IN (SELECT digest FROM blobs)")?;
    delete("DELETE FROM names WHERE manifest NOT IN (SELECT manifest FROM images)")?;
    Ok(())
}

/// Removes links that lead to no result, neither at once nor further on.
fn sweep_links(transaction: &Transaction<'_>) -> Result<()> {
    let links: Vec<([u8; 32], [u8; 32])> =
        rows(transaction, "SELECT DISTINCT parent, child FROM links", |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut parents: BTreeMap<[u8; 32], Vec<[u8; 32]>> = BTreeMap::new();
    for (parent, child) in &links {
        parents.entry(*child).or_default().push(*parent);
    }
    let mut useful: BTreeSet<[u8; 32]> =
        rows(transaction, "SELECT DISTINCT record FROM results", |row| row.get(0))?.into_iter().collect();
    let mut pending: Vec<[u8; 32]> = useful.iter().copied().collect();
    while let Some(record) = pending.pop() {
        for parent in parents.get(&record).into_iter().flatten() {
            if useful.insert(*parent) {
                pending.push(*parent);
            }
        }
    }
    for child in parents.keys().filter(|child| !useful.contains(*child)) {
        transaction.execute("DELETE FROM links WHERE child = ?1", [child]).step("sweep links")?;
    }
    Ok(())
}

/// Names in a directory that are text; ours all are.
fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir).at("list", dir)? {
        names.extend(entry.at("list", dir)?.file_name().into_string().ok());
    }
    Ok(names)
}
