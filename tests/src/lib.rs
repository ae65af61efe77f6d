//! What the tests of the whole share: a state directory with base images, builds, file trees, peers, reported skips.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests take their set-up from the environment and say why they are skipped"
)]

mod peer;
mod rbuild;
mod skip;
mod tree;

pub use peer::{Buildah, unpack_archive};
pub use rbuild::{Outcome, Rbuild, context};
pub use skip::{is_root, needs, skip};
pub use tree::{Node, Tree, tree_of};
