//! Image vocabulary of the OCI image spec 1.1 and of docker's image format, without I/O.

mod archive;
mod config;
mod digest;
mod manifest;
mod media_type;
mod platform;
mod reference;

pub use archive::{DockerArchiveEntry, OciLayout};
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError, Digester};
pub use manifest::{Descriptor, Index, Manifest, ManifestError, ManifestOrIndex};
pub use media_type::MediaType;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
