//! Starts making layers as soon as their steps commit, beside the steps that follow.

use std::collections::BTreeSet;

use rbuild_exporter::{LayerOptions, start_layer};
use rbuild_graph::{Edge, OutputIndex, Vertex};
use rbuild_snapshotter::Snapshotter;
use rbuild_solver::{CacheMap, ContentKey, ResultId, StepContext, Worker};
use rbuild_worker::{LocalWorker, Output, WorkError};

/// A worker that hands the layers of the image to the exporter when they are made.
pub(crate) struct EarlyLayers {
    pub(crate) worker: LocalWorker,
    pub(crate) snapshotter: Snapshotter,
    /// The edges that become layers.
    pub(crate) layers: BTreeSet<Edge>,
    /// The ways in which they are wanted.
    pub(crate) options: Vec<LayerOptions>,
}

impl EarlyLayers {
    fn start(&self, step: &StepContext, outputs: &[Output]) {
        for (index, output) in (0..).zip(outputs) {
            let edge = Edge { vertex: step.digest, output: OutputIndex(index) };
            let Output::Snapshot(snapshot) = output else { continue };
            if self.layers.contains(&edge) {
                self.options.iter().for_each(|options| start_layer(&self.snapshotter, snapshot, options));
            }
        }
    }
}

impl Worker for EarlyLayers {
    type Output = Output;
    type Error = WorkError;

    async fn cache_map(&self, vertex: &Vertex, step: &StepContext) -> Result<CacheMap, WorkError> {
        self.worker.cache_map(vertex, step).await
    }

    async fn content_key(
        &self,
        vertex: &Vertex,
        input: usize,
        output: &Output,
        step: &StepContext,
    ) -> Result<ContentKey, WorkError> {
        self.worker.content_key(vertex, input, output, step).await
    }

    async fn execute(&self, vertex: &Vertex, inputs: Vec<Output>, step: &StepContext) -> Result<Vec<Output>, WorkError> {
        let outputs = self.worker.execute(vertex, inputs, step).await?;
        self.start(step, &outputs);
        Ok(outputs)
    }

    fn result_id(&self, output: &Output) -> Option<ResultId> {
        self.worker.result_id(output)
    }

    async fn load(&self, vertex: &Vertex, output: OutputIndex, result: &ResultId) -> Result<Option<Output>, WorkError> {
        self.worker.load(vertex, output, result).await
    }
}
