//! Where records and results are looked up: a trait that several sources (local, remote) implement.

use std::future::Future;

use rbuild_graph::{InputIndex, OpDigest, OutputIndex};

use crate::{RecordId, ResultId, SelectorDigest};

/// One way that a record is reached: from a parent record through an input of an op.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The record of the input (by definition), or the root record of its content.
    pub parent: RecordId,
    /// Which input it is.
    pub input: InputIndex,
    /// Which output of the op the child is.
    pub output: OutputIndex,
    /// The op.
    pub op: OpDigest,
    /// What of the parent is read. `None` when the parent already is the content of the selection.
    pub selector: Option<SelectorDigest>,
}

/// A parent as a key of one input: its record and the selector that applies to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parent {
    /// The record.
    pub record: RecordId,
    /// What of it is read.
    pub selector: Option<SelectorDigest>,
}

/// A result that a record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// What the worker can load it by.
    pub result: ResultId,
    /// When it was made: nanoseconds since the epoch. The newest is preferred.
    pub created: i64,
}

/// A failed look-up or save.
#[derive(Debug, thiserror::Error)]
#[error("the cache could not be {action}")]
pub struct RecordError {
    /// `read` or `written`.
    pub action: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Persistent records. All methods are short transactions; they may block for a moment, never on another step.
pub trait Records: Send + Sync + 'static {
    /// Held while a step executes.
    type Lock: Send + 'static;

    /// Children reached from any of `links`.
    fn children(&self, links: &[Link]) -> Result<Vec<RecordId>, RecordError>;

    /// Adds links to `child`. Idempotent.
    fn link(&self, child: RecordId, links: &[Link]) -> Result<(), RecordError>;

    /// Results of a record, newest first.
    fn results(&self, record: RecordId) -> Result<Vec<StoredResult>, RecordError>;

    /// Adds a result to a record. Idempotent; atomic with respect to collection, because the result is leased by its maker.
    fn save(&self, record: RecordId, result: &ResultId, created: i64) -> Result<(), RecordError>;

    /// Removes a result that could not be loaded.
    fn forget(&self, record: RecordId, result: &ResultId) -> Result<(), RecordError>;

    /// Waits for the one lock of a step in flight, across processes. `name` is a hexadecimal digest. Dropping the future
    /// gives up; dropping the lock releases it, also when the process dies.
    fn lock(&self, name: String) -> impl Future<Output = Result<Self::Lock, RecordError>> + Send;
}
