//! What is reached: from an image through manifest, configuration and diff ids to blobs and snapshots, and from leases and results.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rbuild_oci::{ChainId, DiffId, Digest};
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;

use crate::blob::{parse_digest, read_bounded};
use crate::error::{AtPath, InStep};
use crate::{Resource, Result, Store, StoreError, snapshot};

/// Largest manifest, index or configuration that is read.
const LARGEST_DOCUMENT: u64 = 16 << 20;
/// Most documents that one image may have, indexes in indexes included.
const MOST_DOCUMENTS: usize = 4096;

/// Names of blobs (digests as text) and snapshots that must stay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    pub(crate) blobs: BTreeSet<String>,
    pub(crate) snapshots: BTreeSet<String>,
}

/// What of a manifest, index or configuration the collector reads. Everything else is somebody else's to judge.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    config: Option<Pointer>,
    layers: Vec<Pointer>,
    manifests: Vec<Pointer>,
}

#[derive(Deserialize)]
struct Pointer {
    digest: Digest,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RootFs {
    diff_ids: Vec<DiffId>,
}

impl Reached {
    /// Adds everything that an image reaches.
    pub(crate) fn add_image(&mut self, store: &Store, connection: &Connection, manifest: &Digest) -> Result<()> {
        let mut pending = vec![manifest.clone()];
        let mut seen = 0;
        while let Some(digest) = pending.pop() {
            seen += 1;
            if seen > MOST_DOCUMENTS {
                break;
            }
            self.blobs.insert(digest.to_string());
            let Some(document): Option<Document> = read_json(store, &digest)? else { continue };
            pending.extend(document.manifests.into_iter().map(|pointer| pointer.digest));
            for layer in &document.layers {
                self.add_layer(connection, &layer.digest)?;
            }
            if let Some(config) = document.config {
                self.blobs.insert(config.digest.to_string());
                self.add_chains(store, connection, &config.digest)?;
            }
        }
        Ok(())
    }

    /// A layer's blob, or the snapshot that it can be made from again when it is not stored.
    fn add_layer(&mut self, connection: &Connection, layer: &Digest) -> Result<()> {
        let text = layer.to_string();
        let stored: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1)")
            .and_then(|mut statement| statement.query_row([&text], |row| row.get(0)))
            .step("look up a layer")?;
        if stored {
            self.blobs.insert(text);
            return Ok(());
        }
        let snapshot: Option<String> = connection
            .prepare_cached("SELECT snapshot FROM layers WHERE blob = ?1 LIMIT 1")
            .and_then(|mut statement| statement.query_row([&text], |row| row.get(0)).optional())
            .step("look up a layer")?;
        self.snapshots.extend(snapshot);
        Ok(())
    }

    /// The unpacked states of an image and of each of its lower stacks.
    fn add_chains(&mut self, store: &Store, connection: &Connection, config: &Digest) -> Result<()> {
        // An artifact's configuration need not be an image's.
        let Some(config) = read_json::<Config>(store, config).ok().flatten() else { return Ok(()) };
        let mut chain: Option<ChainId> = None;
        for layer in &config.rootfs.diff_ids {
            let next = ChainId::extend(chain.as_ref(), layer);
            if let Some(id) = snapshot::chain_snapshot(connection, &next.to_string())? {
                self.snapshots.insert(id.0);
            }
            chain = Some(next);
        }
        Ok(())
    }

    /// Adds what sessions have leased. Leases of the dead must have been removed.
    pub(crate) fn add_leases(&mut self, store: &Store, connection: &Connection) -> Result<()> {
        let rows: Vec<(i64, String)> =
            rows(connection, "SELECT DISTINCT kind, id FROM leases", |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (kind, id) in rows {
            if kind == Resource::SNAPSHOT {
                self.snapshots.insert(id);
            } else if kind == Resource::IMAGE {
                self.add_image_or_blob(store, connection, &id)?;
            } else {
                self.blobs.insert(id);
            }
        }
        Ok(())
    }

    /// Adds an image that may be damaged: then nothing but its manifest.
    pub(crate) fn add_image_or_blob(&mut self, store: &Store, connection: &Connection, manifest: &str) -> Result<()> {
        match self.add_image(store, connection, &parse_digest(manifest)?) {
            Err(StoreError::BadImage { digest, source }) => {
                tracing::warn!(%digest, error = %source, "a stored image is damaged");
                Ok(())
            }
            other => other,
        }
    }

    /// Adds what cached results keep.
    pub(crate) fn add_results(&mut self, connection: &Connection) -> Result<()> {
        let kept: Vec<(Option<String>, Option<String>)> =
            rows(connection, "SELECT snapshot, blob FROM results", |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (snapshot, blob) in kept {
            self.snapshots.extend(snapshot);
            self.blobs.extend(blob);
        }
        Ok(())
    }

    /// Adds the parents of all snapshots.
    pub(crate) fn add_parents(&mut self, connection: &Connection) -> Result<()> {
        let parents: BTreeMap<String, String> =
            rows(connection, "SELECT id, parent FROM snapshots WHERE parent IS NOT NULL", |row| Ok((row.get(0)?, row.get(1)?)))?
                .into_iter()
                .collect();
        let mut pending: Vec<String> = self.snapshots.iter().cloned().collect();
        while let Some(id) = pending.pop() {
            if let Some(parent) = parents.get(&id)
                && self.snapshots.insert(parent.clone())
            {
                pending.push(parent.clone());
            }
        }
        Ok(())
    }

    /// Adds the layer blobs that were made from these snapshots, so that a cached build need not compress them again.
    pub(crate) fn add_made_layers(&mut self, connection: &Connection) -> Result<()> {
        let made: Vec<(String, String)> =
            rows(connection, "SELECT snapshot, blob FROM layers", |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (snapshot, blob) in made {
            if self.snapshots.contains(&snapshot) {
                self.blobs.insert(blob);
            }
        }
        Ok(())
    }
}

/// Reads all rows of a query without parameters.
pub(crate) fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let run = || -> rusqlite::Result<Vec<T>> { connection.prepare_cached(sql)?.query_map([], read)?.collect() };
    run().step("list rows")
}

/// `None` when the file is gone.
fn read_json<T: for<'de> Deserialize<'de>>(store: &Store, digest: &Digest) -> Result<Option<T>> {
    let path = store.blob_path(digest);
    let file = match fs_err::File::open(&path) {
        Ok(file) => file.into_parts().0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", &path),
    };
    let bytes = read_bounded(file, digest, LARGEST_DOCUMENT, &path)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|source| StoreError::BadImage { digest: digest.clone(), source })
}
