//! The graph itself: vertices by digest, inputs before users.

use indexmap::IndexMap;
use rbuild_oci::Platform;

use crate::{Edge, Op, OutputIndex, VertexDigest};

/// One vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// What it does.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<Edge>,
    /// What it runs on.
    pub platform: Platform,
}

/// What is known of a vertex beside its meaning. Never hashed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct VertexMeta {
    /// Name shown to users: `[build 2/4] RUN make`.
    pub name: String,
    /// Where it comes from: line numbers in the Dockerfile, first and last, from 1.
    pub lines: Option<(u32, u32)>,
    /// Whether cached results are passed over (`--no-cache`).
    pub ignore_cache: bool,
    /// The stage's name or number.
    pub stage: String,
}

/// A directed acyclic graph. A vertex can only be added after its inputs, so a cycle cannot be made.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) vertices: IndexMap<VertexDigest, (Vertex, VertexMeta)>,
}

/// Why a vertex was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GraphError {
    /// An input is not in the graph.
    #[error("input {0} is not in the graph")]
    UnknownInput(VertexDigest),
    /// An index points past the inputs or actions there are.
    #[error("{what} {index} is out of range in {vertex}")]
    OutOfRange {
        /// Which index.
        what: &'static str,
        /// Its value.
        index: u32,
        /// The vertex.
        vertex: VertexDigest,
    },
    /// An operation breaks a rule of its kind.
    #[error("{rule}, unlike {vertex}")]
    Malformed {
        /// The rule.
        rule: &'static str,
        /// The vertex.
        vertex: VertexDigest,
    },
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Adds a vertex, or finds the equal one that is there (its metadata stays, but `ignore_cache` is or-ed).
    ///
    /// # Errors
    /// When an input is unknown, an index is out of range, or the op breaks a rule of its kind.
    pub fn add(&mut self, vertex: Vertex, meta: VertexMeta) -> Result<VertexDigest, GraphError> {
        let digest = vertex.digest();
        vertex.inputs.iter().try_for_each(|edge| self.check_edge(edge))?;
        vertex.check(digest)?;
        let entry = self.vertices.entry(digest).or_insert_with(|| (vertex, VertexMeta::default()));
        if entry.1.name.is_empty() {
            let ignore_cache = entry.1.ignore_cache || meta.ignore_cache;
            entry.1 = VertexMeta { ignore_cache, ..meta };
        } else {
            entry.1.ignore_cache |= meta.ignore_cache;
        }
        Ok(digest)
    }

    /// The vertex with this digest.
    #[must_use]
    pub fn vertex(&self, digest: &VertexDigest) -> Option<&Vertex> {
        self.vertices.get(digest).map(|(vertex, _)| vertex)
    }

    /// Its metadata.
    #[must_use]
    pub fn meta(&self, digest: &VertexDigest) -> Option<&VertexMeta> {
        self.vertices.get(digest).map(|(_, meta)| meta)
    }

    /// All vertices, inputs before users.
    pub fn iter(&self) -> impl Iterator<Item = (&VertexDigest, &Vertex, &VertexMeta)> {
        self.vertices.iter().map(|(digest, (vertex, meta))| (digest, vertex, meta))
    }

    /// How many vertices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }
}

impl Edge {
    /// The first output of `vertex`.
    #[must_use]
    pub fn first(vertex: VertexDigest) -> Edge {
        Edge { vertex, output: OutputIndex(0) }
    }
}
