//! The sandbox child, in the order of its life: the supervisor, and the process that becomes the command.

pub(crate) mod supervisor;

mod cgroups;
mod command;
mod credentials;
mod devices;
mod mounts;
mod program;
mod rooted;
mod standard;
mod stdio;
mod stubs;
mod tree;
