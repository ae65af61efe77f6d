//! What takes space.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::blob::unsigned;
use crate::error::AtPath;
use crate::reach::{Reached, rows};
use crate::session::is_alive;
use crate::{Result, Store, disk};

/// One thing that takes space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What it is.
    pub kind: UsageKind,
    /// Its digest, id or file name.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// When it was made: nanoseconds since the epoch, 0 when unknown.
    pub created: i64,
    /// When it was last used, likewise.
    pub last_used: i64,
    /// Whether a named image or a running process needs it: not even `prune -a` takes it.
    pub in_use: bool,
    /// Whether several images need it.
    pub shared: bool,
    /// Free text.
    pub description: String,
}

/// Kinds of things that take space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageKind {
    /// Stored content.
    Blob,
    /// An unpacked state.
    Snapshot,
    /// A directory of `RUN --mount=type=cache`.
    CacheMount,
    /// Digest memo of a context.
    Context,
    /// Kept output of a step.
    Log,
    /// Staging of dead processes, and what the collector has not removed yet.
    Garbage,
}

impl Usage {
    pub(crate) fn new(kind: UsageKind, id: String, size: i64, created: i64, last_used: i64) -> Usage {
        let size = unsigned(size);
        Usage { kind, id, size, created, last_used, in_use: false, shared: false, description: String::new() }
    }

    pub(crate) fn garbage(id: String, size: u64) -> Usage {
        Usage {
            kind: UsageKind::Garbage,
            id,
            size,
            created: 0,
            last_used: 0,
            in_use: false,
            shared: false,
            description: String::new(),
        }
    }
}

impl Store {
    /// Everything that takes space, sorted by kind and id.
    ///
    /// # Errors
    /// When the database or a directory cannot be read.
    pub fn usage(&self) -> Result<Vec<Usage>> {
        let mut all = self.database().read(|connection| self.row_usage(connection))?;
        for (directory, kind) in [
            ("cache", UsageKind::CacheMount),
            ("contexts", UsageKind::Context),
            ("logs", UsageKind::Log),
            ("trash", UsageKind::Garbage),
        ] {
            all.extend(self.directory_usage(directory, kind)?);
        }
        all.extend(self.dead_sessions()?);
        all.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        Ok(all)
    }

    fn row_usage(&self, connection: &Connection) -> Result<Vec<Usage>> {
        let needs = self.needs(connection)?;
        let mark = |mut usage: Usage| {
            let count = needs.get(&(usage.kind, usage.id.clone())).copied();
            usage.in_use = count.is_some();
            usage.shared = count.is_some_and(|count| count > 1);
            usage
        };
        let blobs = rows(connection, "SELECT digest, size, created, used FROM blobs", |row| {
            Ok(Usage::new(UsageKind::Blob, row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        let snapshots = rows(connection, "SELECT id, size, created, used, description FROM snapshots", |row| {
            let usage = Usage::new(UsageKind::Snapshot, row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Usage { description: row.get(4)?, ..usage })
        })?;
        Ok(blobs.into_iter().chain(snapshots).map(mark).collect())
    }

    /// How many named images need each thing; 0 for what only a lease keeps.
    fn needs(&self, connection: &Connection) -> Result<BTreeMap<(UsageKind, String), u32>> {
        let mut needs = BTreeMap::new();
        let mut count = |reached: Reached, by: u32| {
            let Reached { blobs, snapshots } = reached;
            let blobs = blobs.into_iter().map(|id| (UsageKind::Blob, id));
            for key in blobs.chain(snapshots.into_iter().map(|id| (UsageKind::Snapshot, id))) {
                *needs.entry(key).or_insert(0) += by;
            }
        };
        let images: Vec<String> = rows(connection, "SELECT DISTINCT manifest FROM names", |row| row.get(0))?;
        for manifest in &images {
            let mut reached = Reached::default();
            reached.add_image_or_blob(self, connection, manifest)?;
            reached.add_parents(connection)?;
            count(reached, 1);
        }
        let mut leased = Reached::default();
        leased.add_leases(self, connection)?;
        leased.add_parents(connection)?;
        count(leased, 0);
        Ok(needs)
    }

    fn directory_usage(&self, directory: &str, kind: UsageKind) -> Result<Vec<Usage>> {
        let dir = self.root().join(directory);
        let mut all = Vec::new();
        for entry in fs_err::read_dir(&dir).at("list", &dir)? {
            let entry = entry.at("list", &dir)?;
            let path = entry.path();
            let size = disk::size_of(&path).at("measure", &path)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            all.push(Usage { kind, ..Usage::garbage(name, size) });
        }
        Ok(all)
    }

    fn dead_sessions(&self) -> Result<Vec<Usage>> {
        let mut dead = self.directory_usage("sessions", UsageKind::Garbage)?;
        let mut error = None;
        dead.retain(|usage| match is_alive(self.root(), &usage.id) {
            Ok(alive) => !alive,
            Err(failed) => {
                error.get_or_insert(failed);
                false
            }
        });
        error.map_or(Ok(dead), Err)
    }
}
