//! When and whether to execute: cache keys, matching, scheduling. No I/O, and no knowledge of any operation.

mod action;
mod algebra;
mod decide;
mod error;
mod event;
mod key;
mod lookup;
mod machine;
mod node;
mod records;
mod settle;
mod solve;
mod worker;

pub use error::SolveError;
pub use event::{Event, EventSink, LogStream, StepStatus};
pub use key::{CacheMap, ContentKey, InputKey, RecordId, ResultId, RootKey, SelectorDigest};
pub use records::{Link, Parent, RecordError, Records, StoredResult};
pub use solve::solve;
pub use worker::{StepContext, Worker};
