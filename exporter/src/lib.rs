//! Artifacts: layers and images made from snapshots; OCI and docker archives, directories, tars; loading what others wrote.
//!
//! SEAM: signatures agreed on; bodies and the split into files are the exporter's own work.
#![allow(missing_docs, clippy::todo, unused_variables, dead_code, reason = "seam")]

use std::path::{Path, PathBuf};

use rbuild_fs::archive::Codec;
use rbuild_oci::{DiffId, Digest, Descriptor, History, ImageConfig, Manifest, Reference};
use rbuild_snapshotter::{Snapshot, Snapshotter, TimePolicy};

#[derive(Debug, thiserror::Error)]
pub enum ExportError { #[error("seam")] Other }
pub type Result<T, E = ExportError> = std::result::Result<T, E>;

/// What an image is made of: base layers that exist already and snapshots on top.
#[derive(Clone, Debug)]
pub struct ImageParts {
    pub config: ImageConfig,
    /// Descriptors and diff ids of unchanged base layers.
    pub base_layers: Vec<(Descriptor, DiffId)>,
    /// Where the base's blobs are, if not in the store.
    pub base_layout: Option<PathBuf>,
    /// Own layers, lowest first.
    pub snapshots: Vec<Snapshot>,
    /// Complete history; for entries with a layer of this build, its position in `snapshots`.
    pub history: Vec<(History, Option<usize>)>,
    /// config.created and missing history times are filled by spec G-24..26 with these.
    pub epoch: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct LayerOptions { pub codec: Codec, pub times: TimePolicy, pub force_compression: bool, pub oci_media_types: bool }

/// An image in the store: its manifest and config blobs are stored and leased; layer blobs of codec `none` may be made on demand.
#[derive(Clone, Debug)]
pub struct StoredImage { pub manifest: Digest, pub manifest_size: u64, pub config: Digest, pub parts: Manifest, pub image_config: ImageConfig }

/// Makes (or finds) each layer, in parallel and streaming; writes config and manifest. Blocking; call from a blocking thread.
pub fn make_image(snapshotter: &Snapshotter, parts: &ImageParts, options: &LayerOptions) -> Result<StoredImage> { todo!() }
/// Starts making one layer in the background as soon as its step commits (design.md); make_image then finds it.
pub fn start_layer(snapshotter: &Snapshotter, snapshot: &Snapshot, options: &LayerOptions) { todo!() }
/// Names the image in the local store.
pub fn tag(snapshotter: &Snapshotter, image: &StoredImage, names: &[Reference]) -> Result<()> { todo!() }
/// Reads an image of the local store.
pub fn stored(snapshotter: &Snapshotter, manifest: &Digest) -> Result<StoredImage> { todo!() }
/// The unpacked file system of a stored image (`None`: no layers).
pub fn unpack(snapshotter: &Snapshotter, image: &StoredImage) -> Result<Option<Snapshot>> { todo!() }

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveKind { /** oci-layout, index.json, blobs */ Oci, /** the same plus manifest.json for docker load */ Docker }
#[derive(Clone, Debug)]
pub enum Destination { File(PathBuf), Directory(PathBuf), Stdout }
/// Writes one or several images.
pub fn write_archive(snapshotter: &Snapshotter, images: &[(StoredImage, Vec<Reference>)], kind: ArchiveKind, to: &Destination) -> Result<()> { todo!() }
/// `type=local`: the tree as files of this directory. `type=tar`: as a tar.
pub fn write_local(snapshotter: &Snapshotter, snapshot: Option<&Snapshot>, to: &Path, epoch: Option<i64>) -> Result<()> { todo!() }
pub fn write_tar(snapshotter: &Snapshotter, snapshot: Option<&Snapshot>, to: &Destination, epoch: Option<i64>) -> Result<()> { todo!() }

/// One image found in an archive.
#[derive(Clone, Debug)]
pub struct LoadedImage { pub image: StoredImage, pub names: Vec<Reference> }
/// `load -i`: docker-archive, OCI archive, OCI layout directory, gzip- or zstd-compressed; everything is verified before it is visible.
pub fn load(snapshotter: &Snapshotter, from: LoadSource) -> Result<Vec<LoadedImage>> { todo!() }
pub enum LoadSource { Path(PathBuf), Stream(Box<dyn std::io::Read + Send>) }
/// `import`: a root file system's tar (possibly compressed) or directory as an image with one layer and this configuration.
pub fn import(snapshotter: &Snapshotter, from: LoadSource, config: ImageConfig) -> Result<StoredImage> { todo!() }
/// Resolves `oci-layout://DIR[:TAG|@DIGEST]` for a platform: manifest, config and layer descriptors, without copying layers.
pub fn read_layout(dir: &Path, tag: Option<&str>, digest: Option<&Digest>, platform: &rbuild_oci::Platform) -> Result<(Digest, Manifest, ImageConfig)> { todo!() }
