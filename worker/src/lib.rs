//! Performs operations: sources, file actions, processes. Implements `rbuild_solver::Worker` on this machine.
//!
//! ```text
//! vertex ─cache_map→ keys        Output ─tree→ what a step reads ─content→ content key
//! vertex + inputs ─execute→ source | file | exec ─→ Output (a descriptor, or a snapshot)
//! ```

mod worker;

mod cache_map;
mod content;
mod context;
mod error;
mod exec;
mod file;
mod logs;
mod memo;
mod options;
mod parents;
mod select;
mod similar;
mod source;
mod surroundings;
mod tree;

pub use error::{ErrorClass, Exclusion, NameKind, WorkError};
pub use options::{FileOutput, ImageHandle, ImageOrigin, LocalContext, Output, WorkerOptions};
pub use worker::LocalWorker;
