//! The build pipeline as a library: a request in, one stream of events, a result out.
//!
//! ```text
//! BuildRequest ─parse→ Dockerfile ─lower ⇄ resolve→ Graph ─solve (worker, records)→ Output ─parts→ image ─→ store | archive
//!                                                                                       └────────────────→ directory | tar
//! ```

mod build;

mod error;
mod request;

mod contexts;
mod resolve;
mod similar;

mod early_layers;
mod records;

mod outputs;
mod parts;
mod progress;

pub use build::build;
pub use error::BuildError;
pub use rbuild_solver::{Event, EventSink, LogStream, StepStatus};
pub use rbuild_worker::ErrorClass;
pub use records::StoreRecords;
pub use request::{BuildRequest, BuildResult, Context, ContextSource, OutputKind, OutputSpec};
