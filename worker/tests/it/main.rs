//! The worker against real file systems, kernels and servers.
#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod support;

mod archive;
mod content;
mod copy;
mod exec;
mod http;
mod ignore;
mod image;
mod keys;
mod link;
mod make;
mod memo;
mod parents;
