//! What identifies a vertex: its op, the keys of sources, and how each input takes part.

use rbuild_graph::{Op, SourceOp, Vertex};
use rbuild_solver::{CacheMap, InputKey, RootKey, SelectorDigest, StepContext};

use crate::WorkError;
use crate::source::{http, image};
use crate::worker::Inner;

pub(crate) async fn cache_map(worker: &Inner, vertex: &Vertex, step: &StepContext) -> Result<CacheMap, WorkError> {
    let mut map = CacheMap { op: vertex.op_digest(), roots: Vec::new(), content_only: false, inputs: inputs(vertex) };
    match &vertex.op {
        Op::Source(SourceOp::Image(source)) => {
            let image = worker.options.images.get(&source.manifest);
            map.roots = image::root_keys(image.ok_or_else(|| WorkError::UnknownImage(source.manifest.clone()))?);
        }
        Op::Source(SourceOp::Local(source)) => {
            if !worker.options.contexts.contains_key(&source.name) {
                return Err(WorkError::UnknownContext(source.name.clone()));
            }
            map.content_only = true;
        }
        Op::Source(SourceOp::Http(source)) => {
            let file = http::fetch(worker, source, step).await?;
            map.roots = vec![RootKey(http::root_key(&file))];
        }
        Op::Source(SourceOp::Git(_)) => return Err(WorkError::NotSupported("a git source".to_owned())),
        Op::Exec(_) | Op::File(_) | Op::Merge(_) => {}
        Op::Diff(_) => return Err(WorkError::NotSupported("the difference of file systems".to_owned())),
    }
    Ok(map)
}

fn inputs(vertex: &Vertex) -> Vec<InputKey> {
    let input = |index| InputKey {
        selector: vertex.selection(index).digest().map(|selection| SelectorDigest(selection.0)),
        by_content: vertex.matches_by_content(index),
    };
    (0..vertex.inputs.len()).map(input).collect()
}
