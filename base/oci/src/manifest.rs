//! Descriptors, manifests and indexes (image spec: descriptor.md, manifest.md, image-index.md).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Digest, MediaType, Platform};

/// The most bytes of a manifest or index that rbuild reads (the distribution spec's suggestion).
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

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

impl Descriptor {
    /// Points to content of this type, digest and size in bytes.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Descriptor {
        Descriptor { media_type, digest, size, platform: None, annotations: BTreeMap::new(), extra: BTreeMap::new() }
    }

    /// Whether it is an attestation in an index rather than an image.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(Platform::is_unknown)
            || self.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
    }
}

impl Index {
    /// The entry for `wanted`: the same platform, then a compatible one, then one that names no platform. Attestations and
    /// what is neither a manifest nor an index are passed over; among equals the first wins.
    #[must_use]
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let rank = |entry: &Descriptor| match &entry.platform {
            Some(offered) => wanted.accepts(offered),
            None => Some(usize::MAX),
        };
        let is_image =
            |entry: &&Descriptor| (entry.media_type.is_manifest() || entry.media_type.is_index()) && !entry.is_attestation();
        let ranked = self.manifests.iter().filter(is_image).filter_map(|entry| Some((rank(entry)?, entry)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
    }
}

/// Either of the two, told apart by media type and by which of `layers` and `manifests` is there.
#[allow(clippy::large_enum_variant, reason = "few exist at a time, and each is taken apart at once")]
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
