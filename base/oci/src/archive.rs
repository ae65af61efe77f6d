//! The index files of archives: docker's `manifest.json` and the OCI layout's `oci-layout` (image-layout.md).

use serde::{Deserialize, Deserializer};

use crate::ManifestError;
use crate::json::{parse_value, to_compact};

/// One image of docker-archive's `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerArchiveEntry {
    /// Path of the configuration in the archive.
    pub config: String,
    /// Names, `repository:tag`.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    /// Paths of the layer tars, base first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<String>,
}

impl DockerArchiveEntry {
    /// Reads `manifest.json`: all images of the archive.
    pub fn parse(bytes: &[u8]) -> Result<Vec<DockerArchiveEntry>, ManifestError> {
        let value = parse_value(bytes).and_then(serde_json::from_value);
        value.map_err(|source| ManifestError::Json { what: "manifest.json", source })
    }

    /// Writes `manifest.json`.
    #[must_use]
    pub fn to_json(entries: &[DockerArchiveEntry]) -> Vec<u8> {
        to_compact(&serde_json::to_value(entries).expect("strings and lists"))
    }
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The `oci-layout` file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciLayout {
    /// `1.0.0`
    pub image_layout_version: String,
}

impl OciLayout {
    /// The version that rbuild reads and writes.
    pub const VERSION: &'static str = "1.0.0";

    /// Reads an `oci-layout` file; another major version is refused.
    pub fn parse(bytes: &[u8]) -> Result<OciLayout, ManifestError> {
        let value = parse_value(bytes).and_then(serde_json::from_value);
        let layout: OciLayout = value.map_err(|source| ManifestError::Json { what: "oci-layout", source })?;
        if layout.image_layout_version.split('.').next() == Some("1") {
            return Ok(layout);
        }
        let reason = format!("version `{}` is not known", layout.image_layout_version);
        Err(ManifestError::Rule { what: "oci-layout", reason })
    }

    /// The file that rbuild writes.
    #[must_use]
    pub fn to_json() -> Vec<u8> {
        format!(r#"{{"imageLayoutVersion":"{}"}}"#, OciLayout::VERSION).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_entries_are_read_and_written() {
        let text = br#"[{"Config":"c.json","RepoTags":["busybox:latest"],"Layers":["a/layer.tar"]}]"#;
        assert_eq!(DockerArchiveEntry::to_json(&DockerArchiveEntry::parse(text).unwrap()), text);
        let odd = DockerArchiveEntry::parse(br#"[{"Config":"c","RepoTags":null,"Layers":null,"Parent":"x"}]"#).unwrap();
        assert_eq!(odd, [DockerArchiveEntry { config: "c".into(), repo_tags: None, layers: Vec::new() }]);
        assert!(DockerArchiveEntry::parse(br#"[{"Config":"c","Config":"d"}]"#).is_err());
    }

    #[test]
    fn the_layout_version_is_checked() {
        assert_eq!(OciLayout::parse(&OciLayout::to_json()).unwrap().image_layout_version, "1.0.0");
        assert!(OciLayout::parse(br#"{"imageLayoutVersion":"2.0.0"}"#).is_err());
        assert!(OciLayout::parse(b"{}").is_err());
    }
}
