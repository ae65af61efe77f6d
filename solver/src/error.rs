//! Why a solve ended without its results.

use rbuild_graph::{GraphError, VertexDigest, VertexMeta};

use crate::RecordError;

/// Why a solve failed. `E` is the worker's error.
#[derive(Debug, thiserror::Error)]
pub enum SolveError<E: std::error::Error + Send + Sync + 'static> {
    /// A step failed; the first one, when several did.
    #[error("failed to solve `{}`", meta.name)]
    Step {
        /// The step's vertex.
        vertex: VertexDigest,
        /// Its name and place.
        meta: Box<VertexMeta>,
        /// Why.
        #[source]
        source: E,
    },
    /// A target is not in the graph.
    #[error("a target is not in the graph")]
    Target(#[source] GraphError),
    /// Cache records could not be read or written.
    #[error("the cache records failed")]
    Records(#[source] RecordError),
    /// The worker broke its contract.
    #[error("the worker returned {found} {what} for `{name}`, not {expected}")]
    Contract {
        /// `outputs` or `input keys`.
        what: &'static str,
        /// The step.
        name: String,
        /// How many came.
        found: usize,
        /// How many were due.
        expected: usize,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}
