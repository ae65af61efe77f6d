//! The worker: who knows what operations mean.

use std::future::Future;
use std::sync::Arc;

use rbuild_graph::{OutputIndex, Vertex, VertexDigest, VertexMeta};
use tokio_util::sync::CancellationToken;

use crate::{CacheMap, ContentKey, EventSink, ResultId};

/// What a step is given beside its inputs.
#[derive(Clone)]
pub struct StepContext {
    /// Which vertex.
    pub digest: VertexDigest,
    /// Its metadata.
    pub meta: VertexMeta,
    /// Cancelled when nobody wants the result any more; the worker then ends all it started and returns an error soon.
    pub cancel: CancellationToken,
    /// Where its logs and progress go.
    pub events: Arc<dyn EventSink>,
}

/// Performs operations. Outputs are cheap handles: a descriptor that can be made real, or a snapshot.
pub trait Worker: Send + Sync + 'static {
    /// Handle of one output.
    type Output: Clone + Send + Sync + 'static;
    /// Why it failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The key material of a vertex. May ask the network (a URL's validator), never executes.
    fn cache_map(&self, vertex: &Vertex, step: &StepContext) -> impl Future<Output = Result<CacheMap, Self::Error>> + Send;

    /// Digest of what `vertex` reads of its `input`-th input. Pure in the content; may materialise `output`.
    fn content_key(
        &self,
        vertex: &Vertex,
        input: usize,
        output: &Self::Output,
        step: &StepContext,
    ) -> impl Future<Output = Result<ContentKey, Self::Error>> + Send;

    /// Performs the vertex. `inputs` is in the order of `vertex.inputs`. Every output is returned; nothing of a failed or
    /// cancelled step stays. Limits its own parallelism.
    fn execute(
        &self,
        vertex: &Vertex,
        inputs: Vec<Self::Output>,
        step: &StepContext,
    ) -> impl Future<Output = Result<Vec<Self::Output>, Self::Error>> + Send;

    /// Name under which an output can be loaded later; `None` when it must not be saved (a local directory).
    fn result_id(&self, output: &Self::Output) -> Option<ResultId>;

    /// Loads and leases a saved output; `None` when it is gone. Look-up and lease are one transaction.
    fn load(
        &self,
        vertex: &Vertex,
        output: OutputIndex,
        result: &ResultId,
    ) -> impl Future<Output = Result<Option<Self::Output>, Self::Error>> + Send;
}
