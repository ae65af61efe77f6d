//! What the image is made of: the base's layers as they are, and the own snapshots with the history that made them.

use std::path::PathBuf;

use rbuild_exporter::ImageParts;
use rbuild_frontend::{HistoryStep, Lowered};
use rbuild_graph::Edge;
use rbuild_oci::History;
use rbuild_snapshotter::Snapshot;
use rbuild_worker::{ImageHandle, ImageOrigin};

use crate::BuildError;

/// The parts of the image. `result` is its last state; `None` when it has no layers but the base's.
///
/// A chain has one snapshot for each layer: the lowest are the base's, what is above was made by this build. The last ones are those
/// that the history speaks of; below them may be a context that a stage started from.
pub(crate) fn parts(lowered: &Lowered, base: Option<&ImageHandle>, result: Option<&Snapshot>) -> Result<ImageParts, BuildError> {
    let base_layers: Vec<_> =
        base.into_iter().flat_map(|base| base.layers.iter().cloned().zip(base.diff_ids.iter().cloned())).collect();
    let chain = result.map(chain).unwrap_or_default();
    let snapshots = match (result, chain.len().checked_sub(base_layers.len())) {
        (None, _) => Vec::new(),
        (Some(_), Some(_)) => chain[base_layers.len()..].to_vec(),
        (Some(last), None) => return Err(BuildError::Internal(format!("snapshot {} is not based on the base image", last.id.0))),
    };
    let history = history(&lowered.history, snapshots.len())?;
    let base_layout = base.and_then(layout);
    let config = lowered.config.clone();
    Ok(ImageParts { config, base_layers, base_layout, snapshots, history, epoch: lowered.epoch })
}

fn layout(base: &ImageHandle) -> Option<PathBuf> {
    match &base.origin {
        ImageOrigin::Store => None,
        ImageOrigin::Layout(path) => Some(path.clone()),
    }
}

/// A state and its parents, lowest first.
fn chain(last: &Snapshot) -> Vec<Snapshot> {
    let mut chain: Vec<Snapshot> = std::iter::successors(Some(last), |snapshot| snapshot.parent.as_deref()).cloned().collect();
    chain.reverse();
    chain
}

/// Entries with the position of their layer among the `own` snapshots.
fn history(steps: &[HistoryStep], own: usize) -> Result<Vec<(History, Option<usize>)>, BuildError> {
    let mut layers: Vec<Edge> = Vec::new();
    for edge in steps.iter().filter_map(|step| step.layer) {
        if !layers.contains(&edge) {
            layers.push(edge);
        }
    }
    let Some(below) = own.checked_sub(layers.len()) else {
        return Err(BuildError::Internal(format!("{} steps made {own} layers", layers.len())));
    };
    let position = |edge: Edge| layers.iter().position(|layer| *layer == edge).map(|at| below + at);
    Ok(steps.iter().map(|step| (step.entry.clone(), step.layer.and_then(position))).collect())
}
