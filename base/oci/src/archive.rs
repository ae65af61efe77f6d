//! The index files of archives: docker's `manifest.json` and the OCI layout's `oci-layout` (image-layout.md).

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
    #[serde(default)]
    pub layers: Vec<String>,
}

/// The `oci-layout` file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciLayout {
    /// `1.0.0`
    pub image_layout_version: String,
}
