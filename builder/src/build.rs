//! One build from its request to its result.

use std::collections::BTreeSet;
use std::sync::Arc;

use rbuild_executor::Executor;
use rbuild_exporter::LayerOptions;
use rbuild_frontend::{Diagnostic, Dockerfile, Lowered, Severity, parse};
use rbuild_snapshotter::{Snapshot, Snapshotter};
use rbuild_solver::{Event, EventSink, SolveError, solve};
use rbuild_worker::{ImageHandle, LocalWorker, Output, WorkError, WorkerOptions};
use tokio_util::sync::CancellationToken;

use crate::contexts::{self, Directories};
use crate::early_layers::EarlyLayers;
use crate::outputs::{self, Export};
use crate::parts::parts;
use crate::progress::{OwnStep, warn};
use crate::resolve::{Images, Resolver};
use crate::{BuildError, BuildRequest, BuildResult, OutputSpec, StoreRecords};

/// Runs one build to its end. Cancelling ends all children and leaves nothing mounted or half-written.
///
/// # Errors
/// See [`BuildError`]; the first thing that failed, after everything else has ended.
pub async fn build(
    request: BuildRequest,
    snapshotter: Snapshotter,
    executor: Executor,
    http: rbuild_http::Client,
    events: Arc<dyn EventSink>,
    cancel: CancellationToken,
) -> Result<BuildResult, BuildError> {
    let build = Build { snapshotter, executor, http, events, cancel };
    build.run(request).await
}

/// What a build works with.
struct Build {
    snapshotter: Snapshotter,
    executor: Executor,
    http: rbuild_http::Client,
    events: Arc<dyn EventSink>,
    cancel: CancellationToken,
}

/// How the worker is set up, as the request says.
struct WorkerSettings {
    directories: Directories,
    images: Images,
    parallelism: usize,
    log_budget: Option<u64>,
    paranoid: bool,
    secrets: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Build {
    async fn run(self, request: BuildRequest) -> Result<BuildResult, BuildError> {
        let BuildRequest {
            dockerfile,
            mut options,
            context,
            named_contexts,
            outputs,
            tags,
            pull,
            parallelism,
            log_budget,
            paranoid,
            secrets,
        } = request;
        if pull {
            let short = "--pull: pulling comes with the registry client, so stored images are used as they are".to_owned();
            self.events.send(Event::Warning { vertex: None, short, detail: Vec::new(), lines: None });
        }
        let outputs = outputs::meant(outputs, &tags);
        options.named_contexts = contexts::named(&named_contexts, &options.target_platform);
        let (file, mut warnings) = self.parse(dockerfile)?;
        let named = Arc::new(named_contexts);
        let resolver = Resolver { snapshotter: self.snapshotter.clone(), named: named.clone(), events: self.events.clone() };
        let lowering = self.cancel.run_until_cancelled(resolver.lower(&file, &options)).await;
        let (lowered, images) = lowering.ok_or(BuildError::Cancelled)??;
        warnings.extend(lowered.warnings.iter().cloned());
        warn(&*self.events, &file.source, &warnings);

        let session = self.snapshotter.session().clone();
        let directories = blocking(move || contexts::directories(context, &named, &session)).await?;
        let base = lowered.base.as_ref().and_then(|base| images.get(&base.manifest)).cloned();
        let settings = WorkerSettings { directories, images, parallelism, log_budget, paranoid, secrets };
        let worker = Arc::new(self.worker(settings, &lowered, &outputs));
        let result = self.solve(&lowered, worker.clone()).await?;
        let image = self.export(lowered, base, result, &worker.worker, outputs).await?;
        Ok(BuildResult { image, warnings })
    }

    fn parse(&self, source: rbuild_frontend::Source) -> Result<(Dockerfile, Vec<Diagnostic>), BuildError> {
        let step = OwnStep::start(&self.events, format!("[internal] load build definition from {}", source.name));
        let (file, diagnostics) = parse(source);
        let is_wrong = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let source_text = file.source.clone();
        step.end(if is_wrong { Err(BuildError::Dockerfile { source_text, diagnostics }) } else { Ok((file, diagnostics)) })
    }

    fn worker(&self, settings: WorkerSettings, lowered: &Lowered, outputs: &[OutputSpec]) -> EarlyLayers {
        let WorkerSettings { directories, images, parallelism, log_budget, paranoid, secrets } = settings;
        let worker = LocalWorker::new(WorkerOptions {
            snapshotter: self.snapshotter.clone(),
            executor: self.executor.clone(),
            contexts: directories,
            images,
            parallelism,
            log_budget,
            paranoid,
            http: self.http.clone(),
            secrets,
        });
        let layers: BTreeSet<_> = lowered.history.iter().filter_map(|step| step.layer).collect();
        EarlyLayers { worker, snapshotter: self.snapshotter.clone(), layers, options: layer_options(outputs) }
    }

    /// The result of the target stage; `None` is the empty file system.
    async fn solve(&self, lowered: &Lowered, worker: Arc<EarlyLayers>) -> Result<Option<Output>, BuildError> {
        let Some(edge) = lowered.result else { return Ok(None) };
        let records = StoreRecords::new(self.snapshotter.store().clone(), self.snapshotter.session().clone());
        let graph = Arc::new(lowered.graph.clone());
        let solved = solve(graph, &[edge], worker, Arc::new(records), self.events.clone(), self.cancel.clone()).await;
        Ok(solved.map_err(solve_error)?.pop())
    }

    async fn export(
        &self,
        lowered: Lowered,
        base: Option<ImageHandle>,
        result: Option<Output>,
        worker: &LocalWorker,
        outputs: Vec<OutputSpec>,
    ) -> Result<Option<rbuild_exporter::StoredImage>, BuildError> {
        let needs_files = outputs.iter().any(|output| output.kind.is_files());
        let result = match result {
            None | Some(Output::Scratch) => State::Base,
            // The base as it is: its layers are known without unpacking them.
            Some(Output::Image(_)) if !needs_files => State::Base,
            Some(output @ Output::Image(_)) => State::UnpackedBase(self.files(worker, &output).await?),
            Some(output @ (Output::Snapshot(_) | Output::Local(_) | Output::File(_))) => {
                State::Own(self.files(worker, &output).await?)
            }
        };
        let (last, files) = match result {
            State::Base => (None, None),
            State::UnpackedBase(files) => (None, files),
            State::Own(last) => (last.clone(), last),
        };
        let parts = parts(&lowered, base.as_ref(), last.as_ref())?;
        let (snapshotter, events, cancel) = (self.snapshotter.clone(), self.events.clone(), self.cancel.clone());
        let export = Export { snapshotter, parts, files, events, cancel };
        blocking(move || export.write(&outputs)).await
    }

    async fn files(&self, worker: &LocalWorker, output: &Output) -> Result<Option<Snapshot>, BuildError> {
        let made = self.cancel.run_until_cancelled(worker.snapshot(output)).await;
        let failed = |source| BuildError::Step { name: "preparing the result".to_owned(), lines: None, source: Box::new(source) };
        made.ok_or(BuildError::Cancelled)?.map_err(failed)
    }
}

/// What the result is in terms of layers and files.
enum State {
    /// The base image's layers, or none; its files are not needed.
    Base,
    /// The same, with its files.
    UnpackedBase(Option<Snapshot>),
    /// Layers of its own.
    Own(Option<Snapshot>),
}

/// The distinct ways in which the outputs want layers.
fn layer_options(outputs: &[OutputSpec]) -> Vec<LayerOptions> {
    let mut options: Vec<LayerOptions> = Vec::new();
    for output in outputs.iter().filter(|output| output.kind.is_image()) {
        let is_known = |known: &LayerOptions| known.codec == output.layer.codec && known.times == output.layer.times;
        if !options.iter().any(is_known) {
            options.push(output.layer.clone());
        }
    }
    options
}

fn solve_error(error: SolveError<WorkError>) -> BuildError {
    match error {
        SolveError::Cancelled | SolveError::Step { source: WorkError::Cancelled, .. } => BuildError::Cancelled,
        SolveError::Step { vertex: _, meta, source } => {
            BuildError::Step { name: meta.name, lines: meta.lines, source: Box::new(source) }
        }
        SolveError::Records(error) => BuildError::Records(error),
        SolveError::Target(_) | SolveError::Contract { .. } => BuildError::Internal(error.to_string()),
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, BuildError> + Send + 'static) -> Result<T, BuildError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(BuildError::Internal(error.to_string())),
    }
}
