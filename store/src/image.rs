//! Images of the local store: manifests, named or dangling.

use rbuild_oci::{Digest, Reference};
use rusqlite::{OptionalExtension, params};

use crate::blob::{self, parse_digest};
use crate::error::InStep;
use crate::{Resource, Result, Session, Store, StoreError};

/// A manifest under one of its names, or without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// `None`: dangling.
    pub reference: Option<Reference>,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// When the name was set (or the image stored, without a name): nanoseconds since the epoch.
    pub created: i64,
}

impl Store {
    /// Names a manifest, or stores it without a name; an image that loses its last name becomes dangling. Everything that the manifest
    /// reaches (config and layer blobs, snapshots of its chain) must be leased by `session`; from then on the image keeps it.
    ///
    /// # Errors
    /// When the manifest is not stored, or the database cannot be written.
    pub fn tag(&self, session: &Session, reference: Option<&Reference>, manifest: &Digest) -> Result<()> {
        let resource = Resource::Image(manifest.clone());
        let (now, digest) = (self.now(), manifest.to_string());
        self.database().write("name an image", |transaction| {
            if blob::stored(self, transaction, manifest)?.is_none() {
                return Err(StoreError::Missing { what: "manifest", id: digest });
            }
            transaction
                .prepare_cached("INSERT OR IGNORE INTO images (manifest, created) VALUES (?1, ?2)")
                .and_then(|mut statement| statement.execute(params![digest, now]))
                .step("name an image")?;
            if let Some(reference) = reference {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO names (reference, manifest, created) VALUES (?1, ?2, ?3)")
                    .and_then(|mut statement| statement.execute(params![reference.to_string(), digest, now]))
                    .step("name an image")?;
            }
            session.presence().insert_lease(transaction, &resource)
        })?;
        session.presence().remember(&resource);
        Ok(())
    }

    /// Takes a name away; the image stays, dangling if it was the last. False when there is no such name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn untag(&self, reference: &Reference) -> Result<bool> {
        self.database().write("remove a name", |transaction| {
            let count =
                transaction.execute("DELETE FROM names WHERE reference = ?1", [reference.to_string()]).step("remove a name")?;
            Ok(count > 0)
        })
    }

    /// Removes all names of a manifest and the image itself; its content goes with the next prune. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_image(&self, manifest: &Digest) -> Result<bool> {
        let digest = manifest.to_string();
        self.database().write("remove an image", |transaction| {
            transaction.execute("DELETE FROM names WHERE manifest = ?1", [&digest]).step("remove an image")?;
            let count = transaction.execute("DELETE FROM images WHERE manifest = ?1", [&digest]).step("remove an image")?;
            Ok(count > 0)
        })
    }

    /// Every name with its manifest, and every dangling image; the newest first, equal times by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRow>> {
        let sql = "SELECT n.reference, i.manifest, coalesce(n.created, i.created) AS at
                   FROM images i LEFT JOIN names n ON n.manifest = i.manifest ORDER BY at DESC, n.reference, i.manifest";
        let rows: Vec<(Option<String>, String, i64)> = self.database().read(|connection| {
            let run = || -> rusqlite::Result<Vec<_>> {
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                rows.collect()
            };
            run().step("list images")
        })?;
        rows.into_iter().map(|(reference, manifest, created)| image(reference, &manifest, created)).collect()
    }

    /// Finds an image by its name and leases the manifest and all it reaches in the same transaction.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn resolve(&self, session: &Session, reference: &Reference) -> Result<Option<ImageRow>> {
        let name = reference.to_string();
        let found = self.database().write("find an image", |transaction| {
            let row: Option<(String, i64)> = transaction
                .prepare_cached("SELECT manifest, created FROM names WHERE reference = ?1")
                .and_then(|mut statement| statement.query_row([&name], |row| Ok((row.get(0)?, row.get(1)?))).optional())
                .step("find an image")?;
            let Some((manifest, created)) = row else { return Ok(None) };
            let manifest = parse_digest(&manifest)?;
            session.presence().insert_lease(transaction, &Resource::Image(manifest.clone()))?;
            Ok(Some(ImageRow { reference: Some(reference.clone()), manifest, created }))
        })?;
        if let Some(image) = &found {
            session.presence().remember(&Resource::Image(image.manifest.clone()));
        }
        Ok(found)
    }
}

fn image(reference: Option<String>, manifest: &str, created: i64) -> Result<ImageRow> {
    let reference =
        reference.map(|text| text.parse().map_err(|_source| StoreError::BadRow { what: "reference", text })).transpose()?;
    Ok(ImageRow { reference, manifest: parse_digest(manifest)?, created })
}
