//! The system calls that rustix lacks; the only unsafe code of this crate.

pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod readiness;
pub(crate) mod signal;
