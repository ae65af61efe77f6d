//! The state directory that a command works on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use rbuild_snapshotter::{DriverChoice, Snapshotter};
use rbuild_store::{Session, Store};

use crate::args::Global;
use crate::clock::SystemClock;
use crate::environment;
use crate::failure::Failure;

/// An open store with this process's session.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) session: Arc<Session>,
    pub(crate) snapshotter: Snapshotter,
}

impl State {
    /// Opens the directory, making it when there is none.
    pub(crate) fn open(global: &Global) -> Result<State, Failure> {
        let store = open_store(global)?;
        let session = store.session()?;
        let snapshotter = Snapshotter::new(store.clone(), Arc::clone(&session))?;
        Ok(State { store, session, snapshotter })
    }
}

/// The store alone, for commands that touch no snapshot.
pub(crate) fn open_store(global: &Global) -> Result<Store, Failure> {
    Ok(Store::open(&root(global)?, Arc::new(SystemClock), &probe)?)
}

/// `--root`, `RBUILD_ROOT`, or the default.
pub(crate) fn root(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(root) = global.root.clone().or_else(environment::root) {
        return Ok(root);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/rbuild"));
    }
    let data = environment::data_home();
    data.map(|data| data.join("rbuild"))
        .ok_or_else(|| Failure::usage(anyhow!("no home directory to keep state in")).hint("say --root DIR"))
}

fn probe(root: &Path) -> io::Result<String> {
    Snapshotter::probe(root, DriverChoice::Auto)
}
