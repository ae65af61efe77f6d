//! Descriptors, manifests and indexes (image spec: descriptor.md, manifest.md, image-index.md).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Digest, MediaType, Platform};

/// Points to content by digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// What the content is.
    pub media_type: MediaType,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Platform, in an index.
    pub platform: Option<Platform>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Fields that are not named above (`urls`, `data`, `artifactType` …).
    pub extra: BTreeMap<String, Value>,
}

/// One image: its configuration and layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `mediaType`.
    pub media_type: MediaType,
    /// The configuration.
    pub config: Descriptor,
    /// Layers, base first.
    pub layers: Vec<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Fields that are not named above (`subject`, `artifactType` …).
    pub extra: BTreeMap<String, Value>,
}

/// Several manifests, for several platforms.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// `mediaType`.
    pub media_type: MediaType,
    /// The entries.
    pub manifests: Vec<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Fields that are not named above.
    pub extra: BTreeMap<String, Value>,
}

/// Either of the two, told apart by media type and by which of `layers` and `manifests` is there.
#[derive(Clone, Debug, PartialEq)]
pub enum ManifestOrIndex {
    /// An image.
    Manifest(Manifest),
    /// An index.
    Index(Index),
}

/// JSON that is not a manifest, an index or a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or JSON with duplicate keys, or a field of the wrong type.
    #[error("invalid JSON of {what}")]
    Json {
        /// Which document.
        what: &'static str,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A document that breaks a rule.
    #[error("invalid {what}: {reason}")]
    Rule {
        /// Which document.
        what: &'static str,
        /// The rule.
        reason: String,
    },
}
