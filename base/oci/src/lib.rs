//! Image vocabulary of the OCI image spec 1.1 and of docker's image format, without I/O.

mod archive;
mod config;
mod config_json;
mod digest;
mod json;
mod manifest;
mod manifest_json;
mod media_type;
mod platform;
mod reference;

pub use archive::{DockerArchiveEntry, OciLayout};
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, MAX_CONFIG_BYTES, RootFs};
pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError, Digester};
pub use manifest::{Descriptor, Index, MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestOrIndex};
pub use media_type::{LayerCompression, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
