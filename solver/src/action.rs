//! What the state machine asks for, and what it is told of look-ups. Vertices are named by their position in topological order.

use rbuild_graph::OpDigest;

use crate::{Link, Parent, RecordId, ResultId, StepStatus, StoredResult};

/// Work that the machine wants done. Everything but `Emit`, `Unlock`, `Link` and `Forget` is reported back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask the worker for the cache map.
    Map(usize),
    /// Ask the worker for the content key of what `vertex` reads of an input, whose output is available.
    Content { vertex: usize, input: usize },
    /// Add links to a record.
    Link(RecordId, Vec<Link>),
    /// Load a saved output.
    Load { vertex: usize, output: usize, result: ResultId },
    /// Drop a result that could not be loaded.
    Forget(RecordId, ResultId),
    /// Take the lock of a step in flight.
    Lock { vertex: usize, name: String },
    /// Release it.
    Unlock(usize),
    /// Perform the vertex; its inputs are available.
    Execute(usize),
    /// Save the outputs of an executed vertex, in order.
    Save { vertex: usize, outputs: Vec<NewRecord> },
    /// Tell the world.
    Emit { vertex: usize, status: StepStatus },
}

/// A record that an executed output is saved under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewRecord {
    pub(crate) output: usize,
    pub(crate) record: RecordId,
    pub(crate) links: Vec<Link>,
}

/// A look-up of all needed outputs of one vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) vertex: usize,
    /// Which outputs are needed.
    pub(crate) outputs: Vec<u32>,
    pub(crate) keys: QueryKeys,
}

/// What a vertex is looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryKeys {
    /// Without inputs: the alternative records of each needed output.
    Roots(Vec<Vec<RecordId>>),
    /// With inputs: the op, and the alternative parents of each input.
    Inputs(OpDigest, Vec<Vec<Parent>>),
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// One for each output of the query.
    pub(crate) outputs: Vec<FoundOutput>,
}

/// What was found for one output.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct FoundOutput {
    /// Records that all inputs lead to; the one with the newest result first.
    pub(crate) matched: Vec<Match>,
    /// For each input, whether it leads nowhere.
    pub(crate) unmatched: Vec<bool>,
}

/// A record that all inputs lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) record: RecordId,
    /// Newest first.
    pub(crate) results: Vec<StoredResult>,
    /// Links from equivalent parents that are not there yet.
    pub(crate) missing: Vec<Link>,
}
