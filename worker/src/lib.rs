//! Performs operations: sources, file actions, processes. Implements `rbuild_solver::Worker`.
//!
//! SEAM: signatures agreed on; bodies and the split into files are the worker's own work.
#![allow(missing_docs, clippy::todo, unused_variables, dead_code, reason = "seam")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rbuild_executor::Executor;
use rbuild_oci::{Digest, DiffId, Reference};
use rbuild_snapshotter::{Snapshot, Snapshotter};

/// Everything a worker needs from the build that it serves.
pub struct WorkerOptions {
    pub snapshotter: Snapshotter,
    pub executor: Executor,
    /// Local directories by LocalSource.name.
    pub contexts: BTreeMap<String, Arc<LocalContext>>,
    /// Images of this build by manifest digest.
    pub images: BTreeMap<Digest, ImageHandle>,
    /// Most RUN steps at once.
    pub parallelism: usize,
    /// Bytes of a step's output kept on disk; `None` is unlimited.
    pub log_budget: Option<u64>,
    /// Always hash file contents.
    pub paranoid: bool,
    pub http: rbuild_http::Client,
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// A context directory with its ignore rules; read in place.
pub struct LocalContext { pub root: PathBuf, pub ignore: Vec<rbuild_fs::ignore::Line>, /** shown in messages: `.dockerignore` or `app.Dockerfile.dockerignore` */ pub ignore_name: String }

/// Where an image's layers come from; unpacked only when a step needs the files.
#[derive(Clone, Debug)]
pub struct ImageHandle { pub manifest: Digest, pub diff_ids: Vec<DiffId>, pub layers: Vec<rbuild_oci::Descriptor>, pub origin: ImageOrigin, pub reference: Option<Reference> }
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageOrigin { /** blobs are in the store, or can be made again from its snapshots */ Store, /** an OCI layout directory */ Layout(PathBuf) }

/// Handle of one output.
#[derive(Clone, Debug)]
pub enum Output {
    /// The empty file system.
    Scratch,
    Snapshot(Snapshot),
    /// A context, read in place.
    Local(String),
    /// An image that may not be unpacked yet.
    Image(Arc<ImageHandle>),
    /// One downloaded file: a blob of the store.
    File { blob: Digest, name: String, mode: u32, uid: u32, gid: u32, mtime: i64 },
}

pub struct LocalWorker { options: WorkerOptions }
impl LocalWorker {
    pub fn new(options: WorkerOptions) -> LocalWorker { todo!() }
    /// Makes an output real: unpacks an image (layers in parallel, verified), or returns the snapshot it is. `None` for scratch.
    pub async fn snapshot(&self, output: &Output) -> Result<Option<Snapshot>, WorkError> { todo!() }
}

/// Why a step failed. Carries what the messages of the cli need (exit code, which action, excluded by which ignore line, hint).
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// `process "/bin/sh -c X" did not complete successfully: exit code: N`
    #[error("process \"{command}\" did not complete successfully: {outcome}")]
    Process { command: String, outcome: String, code: Option<i32>, oom: bool },
    #[error("seam")]
    Other,
    // … fn hint(&self) -> Option<String>, fn class(&self) -> design.md's error classes
}
