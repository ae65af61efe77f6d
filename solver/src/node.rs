//! The state of one vertex in a solve, and what can be said of it without looking at others.

use rbuild_graph::Vertex;

use crate::{CacheMap, ContentKey, RecordId, ResultId};

/// One vertex.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    /// Vertices that read it, each once.
    pub(crate) users: Vec<usize>,
    /// How many users (and targets) may still ask for a result.
    pub(crate) open_users: usize,
    pub(crate) ignore_cache: bool,
    /// Whether it asks nothing more of its inputs.
    pub(crate) released: bool,
    /// Whether its lock in flight is held.
    pub(crate) locked: bool,
    pub(crate) map: Option<CacheMap>,
    pub(crate) stage: Stage,
    pub(crate) demand: Demand,
    pub(crate) progress: Progress,
    pub(crate) save: Save,
    /// Counts changes of the outputs' records.
    pub(crate) key_version: u32,
}

/// One input of a vertex.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) vertex: usize,
    pub(crate) output: usize,
    pub(crate) content: Content,
    /// The key version of its vertex, and whether the content was known, at the last look-up.
    pub(crate) looked_up: Option<(u32, bool)>,
    /// Whether the last look-up led nowhere from here.
    pub(crate) unmatched: bool,
}

/// One output of a vertex.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Output {
    /// Whether a user in the graph or a target names it.
    pub(crate) needed: bool,
    /// Whether its result was asked for.
    pub(crate) wanted: bool,
    /// Whether its result is at hand.
    pub(crate) available: bool,
    /// What it is known as: empty before it is keyed, and for what only content identifies.
    pub(crate) records: Vec<RecordId>,
    /// Saved results of `records[0]`, the next to try last.
    pub(crate) results: Vec<ResultId>,
    /// Whether `records` were made by an earlier solve, so that there are links to them already.
    pub(crate) known: bool,
    /// Results that could not be loaded; a look-up may still see them.
    pub(crate) lost: Vec<ResultId>,
}

/// Where a vertex stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The cache map is asked for.
    Mapping,
    /// Keys of inputs are missing.
    Keying,
    /// A look-up is under way.
    LookingUp,
    /// No result was found; better keys of inputs may still lead to one.
    Missed {
        /// Whether they may.
        may_improve: bool,
    },
    /// Results are known, but none is loaded.
    Hit,
    /// Results are being loaded.
    Loading,
    /// It will be executed as soon as its inputs are at hand.
    Gathering,
    /// The lock is asked for.
    Locking,
    /// The look-up after the lock is under way.
    Rechecking,
    /// The worker performs it.
    Executing,
    /// All that was wanted is at hand.
    Done,
}

/// What is wanted of a vertex, each including the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Demand {
    /// The key that costs nothing.
    Definition,
    /// The best key that there is.
    Key,
    /// A result.
    Result,
}

/// What was told of a vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Silent,
    Started,
    Ended,
}

/// How far an executed vertex is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Save {
    /// Nothing to save, or saved.
    Idle,
    /// Content keys of inputs are missing.
    Waiting,
    /// Being written.
    Writing,
}

/// The content key of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Unknown,
    Asked,
    Known(ContentKey),
    /// It could not be computed, but was not essential.
    Unavailable,
}

impl Node {
    pub(crate) fn new(vertex: &Vertex, inputs: Vec<Input>, ignore_cache: bool) -> Node {
        Node {
            inputs,
            outputs: (0..vertex.outputs()).map(|_| Output::default()).collect(),
            users: Vec::new(),
            open_users: 0,
            ignore_cache,
            released: false,
            locked: false,
            map: None,
            stage: Stage::Mapping,
            demand: Demand::Definition,
            progress: Progress::Silent,
            save: Save::Idle,
            key_version: 0,
        }
    }

    /// Whether only its content identifies it.
    pub(crate) fn is_content_only(&self) -> bool {
        self.map.as_ref().is_some_and(|map| map.content_only)
    }

    /// Whether its key will not get better.
    pub(crate) fn is_key_final(&self) -> bool {
        match self.stage {
            Stage::Mapping | Stage::Keying | Stage::LookingUp => false,
            Stage::Missed { may_improve } => !may_improve,
            Stage::Hit | Stage::Loading | Stage::Done => true,
            Stage::Gathering | Stage::Locking | Stage::Rechecking | Stage::Executing => {
                !self.ignore_cache && !self.is_content_only()
            }
        }
    }

    pub(crate) fn by_content(&self, input: usize) -> bool {
        self.map.as_ref().is_some_and(|map| map.inputs[input].by_content)
    }

    pub(crate) fn wanted_are_available(&self) -> bool {
        self.outputs.iter().all(|output| output.available || !output.wanted)
    }

    pub(crate) fn needed(&self) -> Vec<u32> {
        (0..).zip(&self.outputs).filter(|(_, output)| output.needed).map(|(index, _)| index).collect()
    }
}

impl Input {
    pub(crate) fn new(vertex: usize, output: usize) -> Input {
        Input { vertex, output, content: Content::Unknown, looked_up: None, unmatched: true }
    }

    pub(crate) fn is_content_known(&self) -> bool {
        match self.content {
            Content::Known(_) => true,
            Content::Unknown | Content::Asked | Content::Unavailable => false,
        }
    }

    pub(crate) fn is_content_pending(&self) -> bool {
        match self.content {
            Content::Unknown | Content::Asked => true,
            Content::Known(_) | Content::Unavailable => false,
        }
    }
}
