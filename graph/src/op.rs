//! The five operations and the edges between them.

use crate::{ExecOp, FileOp, SourceOp, VertexDigest};

/// Position in a vertex's list of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputIndex(pub u32);

/// Position in a vertex's list of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputIndex(pub u32);

/// One output of one vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// Which vertex.
    pub vertex: VertexDigest,
    /// Which of its outputs.
    pub output: OutputIndex,
}

/// What a vertex does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Brings something from outside.
    Source(SourceOp),
    /// Runs a process.
    Exec(ExecOp),
    /// Changes files without a process.
    File(FileOp),
    /// Stacks the inputs' layers.
    Merge(MergeOp),
    /// What `upper` has beyond `lower`.
    Diff(DiffOp),
}

/// Stacks its inputs, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeOp {
    /// The inputs, lowest first.
    pub inputs: Vec<InputIndex>,
}

/// The difference of two states; `None` is the empty file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffOp {
    /// The state to compare with.
    pub lower: Option<InputIndex>,
    /// The state that has the changes.
    pub upper: Option<InputIndex>,
}
