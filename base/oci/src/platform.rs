//! Platforms: `os/architecture[/variant]`, normalised as containerd does (amd64, arm64, arm/v7 …).

/// An operating system and processor architecture in Go's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Platform {
    /// The architecture (`GOARCH`): `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system (`GOOS`): `linux`.
    pub os: String,
    /// The operating system's version (Windows only).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Required features of the operating system.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The processor variant: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A string that is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a platform of the form os/architecture[/variant]")]
pub struct PlatformError(pub String);
