//! The worker itself: hands each vertex to who performs it, on threads that may block.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rbuild_graph::{
    ActionInput, Archive, Copy, CopySource, Encoder, FileAction, FileActionKind, FileOp, InputIndex, MergeOp, Op, OutputIndex,
    Selection, SourceOp, Timestamp, Vertex,
};
use rbuild_oci::Digest;
use rbuild_snapshotter::{Snapshot, Snapshotter};
use rbuild_solver::{CacheMap, ContentKey, ResultId, StepContext, Worker};
use rbuild_store::{Resource, SnapshotId};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::content::{Top, content_digest};
use crate::context::ContextTree;
use crate::file::{self, FileInput, FileStep};
use crate::memo::Memo;
use crate::options::{FileOutput, Output, WorkerOptions};
use crate::source::http::{self, Downloads};
use crate::source::image::{self, Unpacks};
use crate::tree::{FileTree, SnapshotTree, Tree};
use crate::{WorkError, cache_map, exec};

/// Performs the vertices of one build on this machine.
pub struct LocalWorker {
    inner: Arc<Inner>,
}

/// What the steps of one build share.
pub(crate) struct Inner {
    pub(crate) options: WorkerOptions,
    /// RUN steps at work.
    pub(crate) slots: Semaphore,
    pub(crate) downloads: Downloads,
    contexts: Mutex<BTreeMap<String, Arc<ContextTree>>>,
    unpacks: Unpacks,
    /// Contexts and downloads as snapshots, for RUN's mounts.
    copies: Mutex<HashMap<String, Arc<OnceCell<Snapshot>>>>,
}

impl LocalWorker {
    /// A worker for one build.
    #[must_use]
    pub fn new(options: WorkerOptions) -> LocalWorker {
        let slots = Semaphore::new(options.parallelism.max(1));
        let inner = Inner {
            options,
            slots,
            downloads: Downloads::default(),
            contexts: Mutex::default(),
            unpacks: Unpacks::default(),
            copies: Mutex::default(),
        };
        LocalWorker { inner: Arc::new(inner) }
    }

    /// Makes an output real: unpacks an image (verified), copies a context, or returns the snapshot it is. `None` for scratch.
    ///
    /// # Errors
    /// When an image's layers are missing or damaged, or files cannot be copied.
    pub async fn snapshot(&self, output: &Output) -> Result<Option<Snapshot>, WorkError> {
        self.inner.snapshot(output, &CancellationToken::new()).await
    }
}

impl Worker for LocalWorker {
    type Output = Output;
    type Error = WorkError;

    async fn cache_map(&self, vertex: &Vertex, step: &StepContext) -> Result<CacheMap, WorkError> {
        cache_map::cache_map(&self.inner, vertex, step).await
    }

    async fn content_key(
        &self,
        vertex: &Vertex,
        input: usize,
        output: &Output,
        step: &StepContext,
    ) -> Result<ContentKey, WorkError> {
        let selection = vertex.selection(input);
        let top = match vertex.op {
            Op::Exec(_) => Top::Shown,
            Op::Source(_) | Op::File(_) | Op::Merge(_) | Op::Diff(_) => Top::Hidden,
        };
        let tree = self.inner.tree(output, &step.cancel).await?;
        let inner = Arc::clone(&self.inner);
        // Hashing that nobody waits for any more ends by itself, and what it learns is kept.
        tokio::select! {
            biased;
            () = step.cancel.cancelled() => Err(WorkError::Cancelled),
            key = blocking(move || inner.content_key(&tree, &selection, top)) => key.map(ContentKey),
        }
    }

    async fn execute(&self, vertex: &Vertex, inputs: Vec<Output>, step: &StepContext) -> Result<Vec<Output>, WorkError> {
        if step.cancel.is_cancelled() {
            return Err(WorkError::Cancelled);
        }
        match &vertex.op {
            Op::Source(SourceOp::Image(source)) => {
                let image = self.inner.options.images.get(&source.manifest);
                let image = image.ok_or_else(|| WorkError::UnknownImage(source.manifest.clone()))?;
                let empty = image.diff_ids.is_empty();
                Ok(vec![if empty { Output::Scratch } else { Output::Image(Arc::new(image.clone())) }])
            }
            Op::Source(SourceOp::Local(source)) => Ok(vec![Output::Local(source.name.clone())]),
            Op::Source(SourceOp::Http(source)) => {
                let file = http::fetch(&self.inner, source, step).await?;
                Ok(vec![Output::File(FileOutput::clone(&file))])
            }
            Op::Source(SourceOp::Git(_)) => Err(WorkError::NotSupported("a git source".to_owned())),
            Op::Exec(op) => exec::run(&self.inner, op, &inputs, step).await,
            Op::File(op) => self.inner.file(op.clone(), inputs, step).await,
            Op::Merge(MergeOp { inputs: order }) => self.inner.merge(order, &inputs, step).await.map(|output| vec![output]),
            Op::Diff(_) => Err(WorkError::NotSupported("the difference of file systems".to_owned())),
        }
    }

    fn result_id(&self, output: &Output) -> Option<ResultId> {
        match output {
            Output::Scratch => Some(ResultId("scratch".to_owned())),
            Output::Snapshot(snapshot) => Some(ResultId(format!("snapshot:{}", snapshot.id.0))),
            Output::File(file) => Some(ResultId(format!("blob:{}:{}", file.mtime, file.blob))),
            Output::Local(_) | Output::Image(_) => None,
        }
    }

    async fn load(&self, vertex: &Vertex, _output: OutputIndex, result: &ResultId) -> Result<Option<Output>, WorkError> {
        let inner = Arc::clone(&self.inner);
        let result = result.0.clone();
        let source = match &vertex.op {
            Op::Source(SourceOp::Http(source)) => Some(source.clone()),
            Op::Source(_) | Op::Exec(_) | Op::File(_) | Op::Merge(_) | Op::Diff(_) => None,
        };
        blocking(move || match result.split_once(':') {
            None if result == "scratch" => Ok(Some(Output::Scratch)),
            Some(("snapshot", id)) => {
                let opened = inner.options.snapshotter.open(&SnapshotId(id.to_owned()));
                Ok(opened.map_err(|source| WorkError::Snapshot { step: "opened", source })?.map(Output::Snapshot))
            }
            Some(("blob", rest)) => source.map_or(Ok(None), |source| inner.load_file(&source, rest)),
            // Of a newer version.
            Some(_) | None => Ok(None),
        })
        .await
    }
}

impl Inner {
    /// What a step reads of an output.
    pub(crate) async fn tree(self: &Arc<Inner>, output: &Output, cancel: &CancellationToken) -> Result<Tree, WorkError> {
        match output {
            Output::Scratch => Ok(Tree::Empty),
            Output::Local(name) => {
                let (inner, name) = (Arc::clone(self), name.clone());
                blocking(move || inner.context(&name)).await.map(Tree::Context)
            }
            Output::File(file) => {
                let (inner, file) = (Arc::clone(self), file.clone());
                blocking(move || inner.file_tree(file)).await
            }
            Output::Snapshot(_) | Output::Image(_) => {
                let Some(snapshot) = self.snapshot(output, cancel).await? else { return Ok(Tree::Empty) };
                let inner = Arc::clone(self);
                blocking(move || snapshot_tree(&inner.options.snapshotter, &snapshot)).await
            }
        }
    }

    /// An output as a state that can be changed or mounted.
    pub(crate) async fn snapshot(
        self: &Arc<Inner>,
        output: &Output,
        cancel: &CancellationToken,
    ) -> Result<Option<Snapshot>, WorkError> {
        match output {
            Output::Scratch => Ok(None),
            Output::Snapshot(snapshot) => Ok(Some(snapshot.clone())),
            Output::Image(image) => {
                let unpacked = image::unpack(&self.unpacks, &self.options.snapshotter, image);
                tokio::select! {
                    unpacked = unpacked => unpacked,
                    () = cancel.cancelled() => Err(WorkError::Cancelled),
                }
            }
            Output::Local(name) => self.copied(format!("context {name}"), "/", output, cancel).await.map(Some),
            Output::File(file) => self.copied(format!("file {} {}", file.name, file.blob), "/", output, cancel).await.map(Some),
        }
    }

    /// One path of a context, at its place in an otherwise empty state. `path` goes through no link.
    pub(crate) async fn part(
        self: &Arc<Inner>,
        output: &Output,
        path: &Path,
        cancel: &CancellationToken,
    ) -> Result<Snapshot, WorkError> {
        let path = path.to_string_lossy();
        self.copied(format!("{path} of {output:?}"), &path, output, cancel).await
    }

    /// A context or a download as a snapshot of its own, made once in a build.
    async fn copied(
        self: &Arc<Inner>,
        name: String,
        path: &str,
        output: &Output,
        cancel: &CancellationToken,
    ) -> Result<Snapshot, WorkError> {
        let cell = Arc::clone(lock(&self.copies).entry(name.clone()).or_default());
        let made = cell.get_or_try_init(|| async {
            let tree = Box::pin(self.tree(output, cancel)).await?;
            let (inner, cancel) = (Arc::clone(self), cancel.clone());
            let op = copy_kept(path);
            let copies = move || inner.run_file_op(&op, &[FileInput { base: None, tree }], &name, &cancel);
            let copied = blocking(copies).await?;
            copied.into_iter().next().ok_or_else(|| WorkError::Internal("a copy has no output".to_owned()))
        });
        made.await.cloned()
    }

    async fn file(self: &Arc<Inner>, op: FileOp, inputs: Vec<Output>, step: &StepContext) -> Result<Vec<Output>, WorkError> {
        let mut offered = Vec::with_capacity(inputs.len());
        for (index, output) in inputs.iter().enumerate() {
            let is_base = op.actions.iter().any(|action| is_input(action.base, index));
            let base = if is_base { self.snapshot(output, &step.cancel).await? } else { None };
            // Viewing a state that is only written to would cost a mount.
            let is_read = op.actions.iter().any(|action| match &action.kind {
                FileActionKind::Copy(copy) => is_input(copy.from, index),
                FileActionKind::MakeFile(_)
                | FileActionKind::MakeDir(_)
                | FileActionKind::Symlink(_)
                | FileActionKind::Remove(_) => false,
            });
            let tree = if is_read { self.tree(output, &step.cancel).await? } else { Tree::Empty };
            offered.push(FileInput { base, tree });
        }
        let (inner, name, cancel) = (Arc::clone(self), step.meta.name.clone(), step.cancel.clone());
        let outputs = blocking(move || inner.run_file_op(&op, &offered, &name, &cancel)).await?;
        Ok(outputs.into_iter().map(Output::Snapshot).collect())
    }

    /// Lays the inputs over each other, the lowest first.
    async fn merge(self: &Arc<Inner>, order: &[InputIndex], inputs: &[Output], step: &StepContext) -> Result<Output, WorkError> {
        let mut merged: Option<Snapshot> = None;
        for index in order {
            let input = usize::try_from(index.0).ok().and_then(|position| inputs.get(position));
            let layer = self.snapshot(input.ok_or(WorkError::UnknownInput(*index))?, &step.cancel).await?;
            merged = match (merged, layer) {
                (Some(base), Some(layer)) => {
                    let (inner, name, cancel) = (Arc::clone(self), step.meta.name.clone(), step.cancel.clone());
                    let link = move || file::link(&inner.options.snapshotter, &base, &layer, &name, &cancel);
                    Some(blocking(link).await?)
                }
                (base, layer) => layer.or(base),
            };
        }
        Ok(merged.map_or(Output::Scratch, Output::Snapshot))
    }

    fn run_file_op(
        &self,
        op: &FileOp,
        inputs: &[FileInput],
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<Snapshot>, WorkError> {
        let snapshotter = &self.options.snapshotter;
        file::run(&FileStep { snapshotter, inputs, name, cancel, now: snapshotter.store().now() }, op)
    }

    fn content_key(&self, tree: &Tree, selection: &Selection, top: Top) -> Result<[u8; 32], WorkError> {
        match tree {
            Tree::Snapshot(snapshot) => {
                let store = self.options.snapshotter.store();
                let id = SnapshotId(snapshot.id.clone());
                let selector = noted_selector(selection, top);
                let noted = |source| WorkError::Store { step: "look up the digest of a selection", source };
                if let Some(digest) = store.selection(&id, &selector).map_err(noted)? {
                    return Ok(digest);
                }
                let digest = content_digest(tree, selection, top)?;
                store.set_selection(&id, &selector, &digest).map_err(noted)?;
                Ok(digest)
            }
            Tree::Context(context) => {
                let digest = content_digest(tree, selection, top)?;
                // A build does not fail because the next one will be slower.
                if let Err(error) = context.save() {
                    tracing::warn!(%error, "the digests of the context could not be kept");
                }
                Ok(digest)
            }
            Tree::Empty | Tree::File(_) => content_digest(tree, selection, top),
        }
    }

    fn context(&self, name: &str) -> Result<Arc<ContextTree>, WorkError> {
        let mut contexts = lock(&self.contexts);
        if let Some(context) = contexts.get(name) {
            return Ok(Arc::clone(context));
        }
        let local = self.options.contexts.get(name).ok_or_else(|| WorkError::UnknownContext(name.to_owned()))?;
        let store = self.options.snapshotter.store();
        let root = fs_err::canonicalize(&local.root).unwrap_or_else(|_| local.root.clone());
        let scratch = self.scratch()?;
        // Two contexts of one build may be one directory with different rules; they share the memo's file.
        let memo = Memo::open(store.context_memo_path(&root), &root, scratch, self.options.paranoid);
        let context = Arc::new(ContextTree::open(name, local, memo)?);
        contexts.insert(name.to_owned(), Arc::clone(&context));
        Ok(context)
    }

    fn scratch(&self) -> Result<PathBuf, WorkError> {
        let staged = self.options.snapshotter.session().staging_dir();
        staged.map_err(|source| WorkError::Store { step: "make a directory for staging", source })
    }

    fn file_tree(&self, file: FileOutput) -> Result<Tree, WorkError> {
        let step = "open a download";
        let blob = self.options.snapshotter.store().open_blob(&file.blob).map_err(|source| WorkError::Store { step, source })?;
        let blob = blob.ok_or_else(|| WorkError::State { step, source: std::io::ErrorKind::NotFound.into() })?;
        Ok(Tree::File(FileTree { file, blob }))
    }

    /// `mtime:digest`
    fn load_file(&self, source: &rbuild_graph::HttpSource, result: &str) -> Result<Option<Output>, WorkError> {
        let Some((mtime, digest)) = result.split_once(':') else { return Ok(None) };
        let (Ok(mtime), Ok(blob)) = (mtime.parse::<i64>(), digest.parse::<Digest>()) else { return Ok(None) };
        let failed = |source| WorkError::Store { step: "open a download", source };
        if !self.options.snapshotter.session().lease(&Resource::Blob(blob.clone())).map_err(failed)? {
            return Ok(None);
        }
        let Some(file) = self.options.snapshotter.store().open_blob(&blob).map_err(failed)? else { return Ok(None) };
        let size = file.metadata().map_err(|source| WorkError::State { step: "open a download", source })?.len();
        Ok(Some(Output::File(http::output(source, blob, size, mtime))))
    }
}

/// A snapshot as steps read it.
pub(crate) fn snapshot_tree(snapshotter: &Snapshotter, snapshot: &Snapshot) -> Result<Tree, WorkError> {
    let view = snapshotter.driver().view(snapshot).map_err(|source| WorkError::Snapshot { step: "viewed", source })?;
    Ok(Tree::Snapshot(SnapshotTree { id: snapshot.id.0.clone(), view }))
}

/// Runs what blocks on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkError> + Send + 'static,
) -> Result<T, WorkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(WorkError::Internal(error.to_string())),
    }
}

/// What the digest of a snapshot's selection is noted under.
fn noted_selector(selection: &Selection, top: Top) -> [u8; 32] {
    let mut to = Encoder::new("rbuild.noted-selection.v1");
    to.option(selection.digest().as_ref(), |to, digest| to.digest(&digest.0));
    to.bool(top == Top::Shown);
    to.finish()
}

/// A path with all below it into the empty file system, where it was.
fn copy_kept(path: &str) -> FileOp {
    let copy = Copy {
        from: ActionInput::Input(InputIndex(0)),
        sources: vec![CopySource { path: path.to_owned(), wildcard: false, written: path.to_owned() }],
        target: "/".to_owned(),
        owner: None,
        chmod: None,
        archive: Archive::Keep,
        parents: true,
        exclude: Vec::new(),
        created: Timestamp::Now,
    };
    let action = FileAction { base: ActionInput::Scratch, kind: FileActionKind::Copy(copy), output: Some(OutputIndex(0)) };
    FileOp { actions: vec![action] }
}

fn is_input(input: ActionInput, position: usize) -> bool {
    matches!(input, ActionInput::Input(InputIndex(index)) if usize::try_from(index) == Ok(position))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
