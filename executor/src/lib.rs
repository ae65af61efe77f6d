//! One sandboxed process: namespaces, mounts, capabilities, a user, its streams and its end. Knows no images, caches or graphs.
//!
//! ```text
//! rbuild ──spawner thread──exec──▶ supervisor (rbuild again, one thread) ──clone3──▶ the command, pid 1 of its namespaces
//!    ▲                                   │ socket: liveness, start, end                   │
//!    └───────────────────────────────────┴──────── status pipe, output pipes ─────────────┘
//! ```
//! rbuild enters no namespace and holds its mounts detached. When rbuild dies, the socket ends, the supervisor kills pid 1, the kernel
//! kills the rest of the namespace and takes its mounts down.

mod binary;
mod channel;
mod child;
mod error;
mod executor;
mod oom;
mod output;
mod process;
mod spawner;
mod spec;
mod sys;
mod user;
mod wire;

pub use error::ExecutorError;
pub use executor::{Executor, run_child_if_asked};
pub use output::Chunk;
pub use process::{Exit, ExitStatus, Process};
pub use spec::{BindMount, BindSource, Network, Spec, Stdio};
pub use user::{MAX_DATABASE_BYTES, PasswdEntry, ResolvedUser, group_by_name, resolve_user, user_by_id, user_by_name};
