//! The front: a store, its driver, a session.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rbuild_oci::ChainId;
use rbuild_store::{Session, SnapshotId, Store};

use crate::apply::apply;
use crate::changes::{Diff, Form};
use crate::copy::CopyDriver;
use crate::error::on;
use crate::layer::{self, Purpose};
use crate::overlay::OverlayDriver;
use crate::state::States;
use crate::xattrs::Flavour;
use crate::{ActiveSnapshot, ChangeKind, DriverChoice, Result, Snapshot, SnapshotDriver, SnapshotError, TimePolicy, probe};

/// The file beside a state's directory that says that its layer names no directory of the parent.
const LINKED: &str = "linked";

/// The front: a store, its driver, a session. Cheap to clone. All calls block.
#[derive(Clone)]
pub struct Snapshotter {
    inner: Arc<Inner>,
}

struct Inner {
    states: States,
    driver: Box<dyn SnapshotDriver>,
}

impl Snapshotter {
    /// For `Store::open`'s probe: which driver works on this directory (`overlay`, `overlay-userxattr`, `copy`). Tries a mount with an upper
    /// directory in it.
    ///
    /// # Errors
    /// When overlay is asked for and does not work, with the kernel's reason.
    pub fn probe(root: &Path, choice: DriverChoice) -> io::Result<String> {
        probe::probe(root, choice).map(str::to_owned)
    }

    /// With the driver that the store's format file names.
    ///
    /// # Errors
    /// When this version does not know that driver.
    pub fn new(store: Store, session: Arc<Session>) -> Result<Snapshotter> {
        let states = States { store, session };
        let driver: Box<dyn SnapshotDriver> = match states.store.driver() {
            "overlay" => Box::new(OverlayDriver::new(states.clone(), Flavour::Trusted)),
            "overlay-userxattr" => Box::new(OverlayDriver::new(states.clone(), Flavour::User)),
            "copy" => Box::new(CopyDriver::new(states.clone())),
            unknown => return Err(SnapshotError::UnknownDriver(unknown.to_owned())),
        };
        Ok(Snapshotter { inner: Arc::new(Inner { states, driver }) })
    }

    /// How states are stored here.
    pub fn driver(&self) -> &dyn SnapshotDriver {
        &*self.inner.driver
    }

    /// The state directory.
    pub fn store(&self) -> &Store {
        &self.inner.states.store
    }

    /// This process's presence in it.
    pub fn session(&self) -> &Arc<Session> {
        &self.inner.states.session
    }

    /// Loads a state with its parents and leases it; `None` when it is gone.
    pub fn open(&self, id: &SnapshotId) -> Result<Option<Snapshot>> {
        match self.store().acquire_snapshot(self.session(), id)? {
            Some(rows) => Snapshot::from_rows(rows),
            None => Ok(None),
        }
    }

    /// As [`Snapshotter::open`], the state of an unpacked image's layers.
    pub fn open_chain(&self, chain: &ChainId) -> Result<Option<Snapshot>> {
        match self.store().acquire_chain(self.session(), chain)? {
            Some(rows) => Snapshot::from_rows(rows),
            None => Ok(None),
        }
    }

    /// Applies one layer's uncompressed tar on a parent; verifies nothing of digests (the caller hashes the stream it hands in and commits only
    /// when it matched). Whiteouts, opaque markers, omitted parents and links into lower layers are understood. The result is a
    /// function of the parent and the tar alone.
    ///
    /// # Errors
    /// [`SnapshotError::Archive`] for a damaged tar, [`SnapshotError::Entry`] for an entry that has no place.
    pub fn apply(&self, parent: Option<&Snapshot>, tar: &mut dyn Read) -> Result<ActiveSnapshot> {
        let active = self.driver().prepare(parent)?;
        let writer = self.driver().writer(&active)?;
        apply(&writer, parent.is_some(), tar)?;
        Ok(active)
    }

    /// Commits a state that an independent layer was laid on: its layer names no directory that the parent has, so that it is the same on
    /// every parent that has those directories, whatever their metadata.
    ///
    /// # Errors
    /// As of a commit.
    pub fn commit_linked(&self, active: ActiveSnapshot, description: &str) -> Result<Snapshot> {
        let path = active.state_path().join(LINKED);
        fs_err::write(&path, "").map_err(on("write", &path))?;
        self.driver().commit(active, description)
    }

    /// Writes the canonical layer tar of a snapshot's changes (spec G-64..G-67; PAX, sorted, times by policy).
    ///
    /// # Errors
    /// [`SnapshotError::Reserved`] for names that layers cannot have, [`SnapshotError::Output`] when `out` fails.
    pub fn write_layer(&self, snapshot: &Snapshot, times: &TimePolicy, out: &mut dyn Write) -> Result<()> {
        let mut changes = self.driver().changes(snapshot)?;
        if self.store().snapshot_dir(&snapshot.id).join(LINKED).exists() {
            changes.retain(|change| change.kind != ChangeKind::Parent);
        }
        let tree = self.inner.states.open_tree(&snapshot.id)?;
        layer::write(tree.as_fd(), &changes, Purpose::Layer, times, out)
    }

    /// Writes the whole tree as a tar (`-o type=tar`, `export`).
    ///
    /// # Errors
    /// [`SnapshotError::Output`] when `out` fails.
    pub fn write_tree(&self, snapshot: &Snapshot, times: &TimePolicy, out: &mut dyn Write) -> Result<()> {
        let view = self.driver().view(snapshot)?;
        let root = view.root().fd();
        let entries = Diff { upper: root, lower: None, form: Form::Whole { copied: None } }.changes()?;
        layer::write(root, &entries, Purpose::Tree, times, out)
    }
}
