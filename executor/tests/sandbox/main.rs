//! Commands in real sandboxes, on a root of busybox.
#![allow(clippy::unwrap_used, reason = "a test")]

mod bed;

mod ends;
mod isolation;
mod life;
mod mounts;
mod streams;
mod stubs;
mod terminal;
mod users;
