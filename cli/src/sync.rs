//! Durability without waiting: a process of its own syncs the state directory after the command that wrote to it has ended.
//!
//! Until it has, a power cut loses the last results (never makes them wrong); see the store's `durable`.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use rbuild_store::Store;

use crate::args::Global;
use crate::clock::SystemClock;
use crate::failure::Failure;
use crate::state;

/// Starts the process if there is something to sync. Failing to is no failure of the command.
pub(crate) fn start(store: &Store) {
    if !store.wants_sync().unwrap_or(false) {
        return;
    }
    let spawned = Command::new("/proc/self/exe")
        .arg("--root")
        .arg(store.root())
        .arg("internal-sync")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = spawned {
        tracing::debug!(%error, "results are not synced yet");
    }
}

/// What that process does: leaves the session of its terminal, so that nothing which ends the command ends it, and syncs.
pub(crate) fn run(global: &Global) -> Result<ExitCode, Failure> {
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "already the leader of a session");
    }
    let store = Store::open_existing(&state::root(global)?, Arc::new(SystemClock))?;
    if let Some(_turn) = store.try_lock("sync")? {
        store.make_durable()?;
    }
    Ok(ExitCode::SUCCESS)
}
