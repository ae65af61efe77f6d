//! Descriptors whose readability a tokio runtime watches.
#![allow(unsafe_code, reason = "tokio cannot know that an OwnedFd keeps its descriptor")]

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdRegisterError};

/// Watches `descriptor`. A failure gives it back.
pub(crate) fn watch(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>, AsyncFdRegisterError<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open until it is dropped and always returns the same descriptor; the `AsyncFd` owns it, and nobody here
    // replaces it through `get_mut`.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }
}
