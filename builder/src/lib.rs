//! The build pipeline as a library: a request in, one stream of events, a result out.
//!
//! SEAM: signatures agreed on; bodies and the split into files are the builder's own work.
#![allow(missing_docs, clippy::todo, unused_variables, dead_code, reason = "seam")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rbuild_executor::Executor;
use rbuild_exporter::StoredImage;
use rbuild_frontend::{Diagnostic, Options, Source};
use rbuild_oci::Reference;
use rbuild_snapshotter::Snapshotter;
pub use rbuild_solver::{Event, EventSink, LogStream, StepStatus};
use tokio_util::sync::CancellationToken;

/// What is built. The Dockerfile is text already; the cli reads files, standard input and the environment.
pub struct BuildRequest {
    pub dockerfile: Source,
    /// Everything for the frontend; its `named_contexts` is filled from `named_contexts` below.
    pub options: Options,
    pub context: Context,
    pub named_contexts: BTreeMap<String, ContextSource>,
    pub outputs: Vec<OutputSpec>,
    pub tags: Vec<Reference>,
    pub pull: bool,
    pub parallelism: usize,
    pub log_budget: Option<u64>,
    pub paranoid: bool,
    pub secrets: BTreeMap<String, Vec<u8>>,
}
pub enum Context { Directory { path: PathBuf, /** text and name of the ignore file that applies */ ignore: Option<(String, String)> }, /** no files */ Empty }
pub enum ContextSource { Directory(PathBuf), Layout { path: PathBuf, tag: Option<String>, digest: Option<rbuild_oci::Digest> }, /** docker-image:// */ Image(String) }

/// One `--output`, as meant.
#[derive(Clone, Debug)]
pub struct OutputSpec { pub kind: OutputKind, pub names: Vec<Reference>, pub layer: rbuild_exporter::LayerOptions, pub annotations: BTreeMap<String, String> }
#[derive(Clone, Debug)]
pub enum OutputKind {
    /// The local image store (`--load`, or no output at all).
    Store,
    Oci(rbuild_exporter::Destination),
    Docker(rbuild_exporter::Destination),
    Local(PathBuf),
    Tar(rbuild_exporter::Destination),
    CacheOnly,
}

pub struct BuildResult {
    /// The image, where one was made.
    pub image: Option<StoredImage>,
    pub warnings: Vec<Diagnostic>,
}

/// Errors in classes that the cli turns into exit codes (design.md).
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong (3): all that was found.
    #[error("the Dockerfile has errors")]
    Dockerfile { source_text: Source, diagnostics: Vec<Diagnostic> },
    /// A step failed; `lines` say where in the Dockerfile.
    #[error("failed to solve: {name}")]
    Step { name: String, lines: Option<(u32, u32)>, #[source] source: rbuild_worker::WorkError },
    #[error("cancelled")]
    Cancelled,
    #[error("seam")]
    Other,
    // … export, store, resolve (with reference and hint)
}

/// Runs one build to its end. Cancelling ends all children and leaves nothing mounted or half-written.
pub async fn build(request: BuildRequest, snapshotter: Snapshotter, executor: Executor, http: rbuild_http::Client, events: Arc<dyn EventSink>, cancel: CancellationToken) -> Result<BuildResult, BuildError> { todo!() }
