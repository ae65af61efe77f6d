//! When and whether to execute: cache keys, matching, scheduling. No I/O, and no knowledge of any operation.

mod event;
mod key;
mod records;
mod worker;

pub use event::{Event, EventSink, LogStream, StepStatus};
pub use key::{CacheMap, ContentKey, InputKey, RecordId, ResultId, RootKey, SelectorDigest};
pub use records::{Link, Parent, RecordError, Records, StoredResult};
pub use worker::{StepContext, Worker};
