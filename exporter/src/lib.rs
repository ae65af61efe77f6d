//! Artifacts: layers and images made from snapshots; OCI and docker archives, directories, tars; loading what others wrote.
//!
//! An image of the store is a manifest blob, a configuration blob and layers. A layer is a stored blob, or *virtual*: an
//! uncompressed tar of which only the digest is known and which a snapshot gives again at any time. The local image store
//! has virtual layers, so that an image is there as soon as its last step is.

mod error;

mod digesting;
mod pipe;

mod layer;
mod queue;
mod source;

mod history;
mod image;
mod unpack;

mod layout;
mod resolve;

mod archive;
mod output;
mod sink;

mod local;
mod tree;

mod docker_archive;
mod files;
mod import;
mod load;
mod oci_archive;

pub use archive::{ArchiveKind, write_archive};
pub use error::{ExportError, Result};
pub use image::{ImageParts, StoredImage, annotate, make_image, stored, tag};
pub use import::import;
pub use layer::LayerOptions;
pub use layout::read_layout;
pub use load::{LoadSource, LoadedImage, load};
pub use local::write_local;
pub use output::Destination;
pub use queue::start_layer;
pub use tree::write_tar;
pub use unpack::unpack;
