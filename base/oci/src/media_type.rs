//! Media types of the OCI image spec and of docker's image format.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A media type that rbuild knows, or any other as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.config.v1+json`
    OciConfig,
    /// `application/vnd.oci.image.layer.v1.tar`
    OciLayer,
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    OciLayerGzip,
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    OciLayerZstd,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerIndex,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.container.image.v1+json`
    DockerConfig,
    /// `application/vnd.docker.image.rootfs.diff.tar`
    DockerLayer,
    /// `application/vnd.docker.image.rootfs.diff.tar.gzip`
    DockerLayerGzip,
    /// `application/vnd.docker.image.rootfs.diff.tar.zstd`
    DockerLayerZstd,
    /// Anything else.
    Other(String),
}

/// How a layer's tar is compressed, as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerCompression {
    /// A plain tar.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

const KNOWN: [(MediaType, &str); 12] = [
    (MediaType::OciIndex, "application/vnd.oci.image.index.v1+json"),
    (MediaType::OciManifest, "application/vnd.oci.image.manifest.v1+json"),
    (MediaType::OciConfig, "application/vnd.oci.image.config.v1+json"),
    (MediaType::OciLayer, "application/vnd.oci.image.layer.v1.tar"),
    (MediaType::OciLayerGzip, "application/vnd.oci.image.layer.v1.tar+gzip"),
    (MediaType::OciLayerZstd, "application/vnd.oci.image.layer.v1.tar+zstd"),
    (MediaType::DockerIndex, "application/vnd.docker.distribution.manifest.list.v2+json"),
    (MediaType::DockerManifest, "application/vnd.docker.distribution.manifest.v2+json"),
    (MediaType::DockerConfig, "application/vnd.docker.container.image.v1+json"),
    (MediaType::DockerLayer, "application/vnd.docker.image.rootfs.diff.tar"),
    (MediaType::DockerLayerGzip, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    (MediaType::DockerLayerZstd, "application/vnd.docker.image.rootfs.diff.tar.zstd"),
];

/// Layers that a registry was not to store; the spec has deprecated them, and rbuild writes their ordinary twins.
const FOREIGN: [(&str, LayerCompression); 6] = [
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", LayerCompression::None),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", LayerCompression::Gzip),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", LayerCompression::Zstd),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", LayerCompression::None),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", LayerCompression::Gzip),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.zstd", LayerCompression::Zstd),
];

impl MediaType {
    /// The type as it is written in JSON and HTTP.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if let MediaType::Other(text) = self {
            return text;
        }
        KNOWN.iter().find(|(known, _)| known == self).map_or("", |(_, text)| text)
    }

    /// An OCI index or a docker manifest list.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self, MediaType::OciIndex | MediaType::DockerIndex)
    }

    /// A manifest of one image.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self, MediaType::OciManifest | MediaType::DockerManifest)
    }

    /// An image configuration.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self, MediaType::OciConfig | MediaType::DockerConfig)
    }

    /// A layer in a form that rbuild can unpack.
    #[must_use]
    pub fn is_layer(&self) -> bool {
        self.compression().is_some()
    }

    /// One of docker's own types.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        self.as_str().starts_with("application/vnd.docker.")
    }

    /// How a layer is compressed; `None` for what is not a layer.
    #[must_use]
    pub fn compression(&self) -> Option<LayerCompression> {
        match self {
            MediaType::OciLayer | MediaType::DockerLayer => Some(LayerCompression::None),
            MediaType::OciLayerGzip | MediaType::DockerLayerGzip => Some(LayerCompression::Gzip),
            MediaType::OciLayerZstd | MediaType::DockerLayerZstd => Some(LayerCompression::Zstd),
            MediaType::Other(text) => FOREIGN.iter().find(|(foreign, _)| foreign == text).map(|(_, kind)| *kind),
            MediaType::OciIndex
            | MediaType::OciManifest
            | MediaType::OciConfig
            | MediaType::DockerIndex
            | MediaType::DockerManifest
            | MediaType::DockerConfig => None,
        }
    }

    /// The type of a layer with this compression.
    #[must_use]
    pub fn layer(compression: LayerCompression, oci: bool) -> MediaType {
        match (compression, oci) {
            (LayerCompression::None, true) => MediaType::OciLayer,
            (LayerCompression::Gzip, true) => MediaType::OciLayerGzip,
            (LayerCompression::Zstd, true) => MediaType::OciLayerZstd,
            (LayerCompression::None, false) => MediaType::DockerLayer,
            (LayerCompression::Gzip, false) => MediaType::DockerLayerGzip,
            (LayerCompression::Zstd, false) => MediaType::DockerLayerZstd,
        }
    }

    /// The OCI type for the same bytes; layers that were not to be distributed become ordinary ones, unknown types stay.
    #[must_use]
    pub fn to_oci(&self) -> MediaType {
        self.in_family(true)
    }

    /// Docker's type for the same bytes; as [`MediaType::to_oci`].
    #[must_use]
    pub fn to_docker(&self) -> MediaType {
        self.in_family(false)
    }

    fn in_family(&self, oci: bool) -> MediaType {
        if let Some(compression) = self.compression() {
            return MediaType::layer(compression, oci);
        }
        let choose = |ours: MediaType, dockers: MediaType| if oci { ours } else { dockers };
        if self.is_index() {
            choose(MediaType::OciIndex, MediaType::DockerIndex)
        } else if self.is_manifest() {
            choose(MediaType::OciManifest, MediaType::DockerManifest)
        } else if self.is_config() {
            choose(MediaType::OciConfig, MediaType::DockerConfig)
        } else {
            self.clone()
        }
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> MediaType {
        let known = KNOWN.iter().find(|(_, known)| *known == text);
        known.map_or_else(|| MediaType::Other(text.into()), |(media_type, _)| media_type.clone())
    }
}

impl FromStr for MediaType {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<MediaType, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for MediaType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for MediaType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<MediaType, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Ok(text.as_ref().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_type_survives_its_text() {
        for (media_type, text) in KNOWN {
            assert_eq!(media_type.to_string(), text);
            assert_eq!(MediaType::from(text), media_type);
            assert_eq!(serde_json::from_str::<MediaType>(&format!("{text:?}")).unwrap(), media_type);
        }
        assert_eq!(MediaType::from("text/plain").as_str(), "text/plain");
    }

    #[test]
    fn families_convert_both_ways() {
        for (media_type, _) in KNOWN {
            let docker = media_type.to_docker();
            assert!(docker.is_docker());
            assert!(!media_type.to_oci().is_docker());
            assert_eq!(docker.to_oci(), media_type.to_oci());
            assert_eq!(docker.compression(), media_type.compression());
        }
        let foreign = MediaType::from("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert!(foreign.is_layer());
        assert_eq!(foreign.to_oci(), MediaType::OciLayerGzip);
        assert_eq!(MediaType::from("text/plain").to_oci().as_str(), "text/plain");
    }
}
