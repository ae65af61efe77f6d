//! Image references: `[host[:port]/]path[:tag][@digest]` in docker's normalised form.

use crate::Digest;

/// A normalised image reference: `busybox` is `docker.io/library/busybox:latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub(crate) domain: String,
    pub(crate) path: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<Digest>,
}

/// A string that is not an image reference, with the rule it breaks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid reference `{reference}`: {reason}")]
pub struct ReferenceError {
    /// What was given.
    pub reference: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}
