//! Images of the store: made from parts, named, read back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rbuild_fs::archive::{Codec, encoder};
use rbuild_oci::{
    ChainId, Descriptor, DiffId, Digest, History, ImageConfig, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest, MediaType,
    Reference,
};
use rbuild_snapshotter::{Snapshot, Snapshotter, TimePolicy};
use rbuild_store::Resource;

use crate::LayerOptions;
use crate::digesting::HashReader;
use crate::error::{ExportError, InDocument, InStream, Result};
use crate::history::{self, LayerOrigin};
use crate::layer::{self, LayerSpec, compression_of};
use crate::queue::{Slot, in_parallel};
use crate::source::{LayerSource, decoded, locate, verified};

/// What an image is made of: base layers that exist already and snapshots on top.
#[derive(Clone, Debug)]
pub struct ImageParts {
    /// Complete but for `rootfs`, `history` and, usually, `created`.
    pub config: ImageConfig,
    /// Descriptors and diff ids of unchanged base layers.
    pub base_layers: Vec<(Descriptor, DiffId)>,
    /// An OCI layout directory that has the base's blobs, if the store has not.
    pub base_layout: Option<PathBuf>,
    /// Own layers, lowest first.
    pub snapshots: Vec<Snapshot>,
    /// Complete history, the base's first; for entries with a layer of this build, its position in `snapshots`. The time of new
    /// entries is open (`None`): it comes from their layers.
    pub history: Vec<(History, Option<usize>)>,
    /// `SOURCE_DATE_EPOCH` in seconds: nothing new is created later.
    pub epoch: Option<i64>,
}

/// An image in the store: its manifest and configuration are stored and leased; layers are stored blobs or virtual.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Its size in bytes.
    pub manifest_size: u64,
    /// Digest of the configuration: docker's image id.
    pub config: Digest,
    /// The manifest.
    pub parts: Manifest,
    /// The configuration.
    pub image_config: ImageConfig,
}

/// A layer of an image under construction.
struct Layer {
    descriptor: Descriptor,
    diff_id: DiffId,
}

enum Job<'a> {
    Base(&'a Descriptor, &'a DiffId),
    Own(&'a Snapshot),
}

/// Makes (or finds) each layer, in parallel and streaming; writes configuration and manifest. Idempotent. Blocking: call it from
/// a blocking thread. The image is leased, not named: see [`tag`].
///
/// # Errors
/// When a base layer is missing or is not what its digest says, or something cannot be read or written.
pub fn make_image(snapshotter: &Snapshotter, parts: &ImageParts, options: &LayerOptions) -> Result<StoredImage> {
    let ImageParts { config, base_layers, base_layout, snapshots, history, epoch } = parts;
    let base = base_layers.iter().map(|(descriptor, diff_id)| Job::Base(descriptor, diff_id));
    let jobs: Vec<Job<'_>> = base.chain(snapshots.iter().map(Job::Own)).collect();
    let layers = in_parallel(&jobs, |job| match job {
        Job::Base(descriptor, diff_id) => base_layer(snapshotter, descriptor, diff_id, base_layout.as_deref(), options),
        Job::Own(snapshot) => own_layer(snapshotter, snapshot, options),
    })?;
    if options.times == TimePolicy::Keep {
        note_chains(snapshotter, &layers, snapshots)?;
    }
    let origins = origins(snapshotter, base_layers.len(), snapshots)?;
    let history = history::complete(history, &origins, base_layers.len(), *epoch);
    let mut image_config = config.clone();
    image_config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    image_config.created = history::image_created(config.created.as_deref(), &history, *epoch);
    image_config.history = history;
    let descriptors = layers.into_iter().map(|layer| layer.descriptor).collect();
    store_image(snapshotter, image_config.to_json(), image_config, descriptors, options.oci_media_types)
}

fn own_layer(snapshotter: &Snapshotter, snapshot: &Snapshot, options: &LayerOptions) -> Result<Layer> {
    let row = layer::layer(snapshotter, snapshot, &LayerSpec::of(options))?;
    let media_type = in_family(&row.media_type, options.oci_media_types);
    Ok(Layer { descriptor: Descriptor::new(media_type, row.blob, row.size), diff_id: row.diff_id })
}

/// A base layer as it is, except that one that is only virtual is made like an own one (there is no blob to reuse), and that
/// `force_compression` has its word.
fn base_layer(
    snapshotter: &Snapshotter,
    descriptor: &Descriptor,
    diff_id: &DiffId,
    layout: Option<&Path>,
    options: &LayerOptions,
) -> Result<Layer> {
    let media_type = in_family(&descriptor.media_type, options.oci_media_types);
    let source = locate(snapshotter, &descriptor.digest, layout)?;
    let fits = descriptor.media_type.compression() == Some(compression_of(options.codec));
    let descriptor = match source {
        LayerSource::Virtual(made) if options.codec != Codec::None => {
            let spec = LayerSpec { codec: options.codec, times: made.spec.times };
            let row = layer::layer(snapshotter, &made.snapshot, &spec)?;
            Descriptor::new(in_family(&row.media_type, options.oci_media_types), row.blob, row.size)
        }
        LayerSource::Stored | LayerSource::Layout(_) if options.force_compression && !fits => {
            recompress(snapshotter, descriptor, diff_id, source, options)?
        }
        LayerSource::Layout(_) => {
            copy_in(snapshotter, descriptor, source)?;
            Descriptor { media_type, ..descriptor.clone() }
        }
        LayerSource::Stored | LayerSource::Virtual(_) => Descriptor { media_type, ..descriptor.clone() },
    };
    Ok(Layer { descriptor, diff_id: diff_id.clone() })
}

fn in_family(media_type: &MediaType, oci: bool) -> MediaType {
    if oci { media_type.to_oci() } else { media_type.to_docker() }
}

/// Copies a blob into the store, where it is visible only when its digest is right.
fn copy_in(snapshotter: &Snapshotter, descriptor: &Descriptor, source: LayerSource) -> Result<()> {
    let _slot = Slot::take();
    let mut from = verified(source.open(snapshotter, &descriptor.digest)?, descriptor);
    let mut blob = snapshotter.session().blob_writer_with(descriptor.digest.algorithm())?;
    io::copy(&mut from, &mut blob).stream(|| format!("copy blob {}", descriptor.digest))?;
    blob.finish(Some(&descriptor.digest))?;
    Ok(())
}

fn recompress(
    snapshotter: &Snapshotter,
    descriptor: &Descriptor,
    diff_id: &DiffId,
    source: LayerSource,
    options: &LayerOptions,
) -> Result<Descriptor> {
    let _slot = Slot::take();
    let step = || format!("compress blob {} anew", descriptor.digest);
    let tar = decoded(source.open(snapshotter, &descriptor.digest)?, descriptor)?;
    let mut tar = HashReader::new(tar, diff_id.0.algorithm());
    let mut blob = snapshotter.session().blob_writer()?;
    let mut out = encoder(options.codec, Box::new(&mut blob)).stream(step)?;
    io::copy(&mut tar, &mut out).stream(step)?;
    out.finish().stream(step)?;
    let actual = tar.finish().stream(step)?.digest;
    if actual != diff_id.0 {
        let what = format!("the uncompressed layer {}", descriptor.digest);
        return Err(ExportError::Mismatch { what, expected: diff_id.0.clone(), actual });
    }
    let stat = blob.finish(None)?;
    let media_type = MediaType::layer(compression_of(options.codec), options.oci_media_types);
    Ok(Descriptor::new(media_type, stat.digest, stat.size))
}

/// Notes each own snapshot as the unpacked form of the stack up to it, so that an image built here is never unpacked. Only as far
/// as they stand on each other, and the first on a base where there is one.
fn note_chains(snapshotter: &Snapshotter, layers: &[Layer], snapshots: &[Snapshot]) -> Result<()> {
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let (base, own) = diff_ids.split_at(layers.len() - snapshots.len());
    let mut chain = ChainId::of(base);
    let mut below: Option<&Snapshot> = None;
    for (diff_id, snapshot) in own.iter().zip(snapshots) {
        let parent = snapshot.parent.as_deref();
        let stacks = match below {
            None => parent.is_some() != base.is_empty(),
            Some(below) => parent.is_some_and(|parent| parent.id == below.id),
        };
        if !stacks {
            break;
        }
        let next = ChainId::extend(chain.as_ref(), diff_id);
        snapshotter.store().set_chain(&next, &snapshot.id)?;
        (chain, below) = (Some(next), Some(snapshot));
    }
    Ok(())
}

fn origins(snapshotter: &Snapshotter, base: usize, snapshots: &[Snapshot]) -> Result<Vec<LayerOrigin>> {
    let mut origins = vec![LayerOrigin::default(); base];
    for snapshot in snapshots {
        let row = snapshotter.store().snapshot(&snapshot.id)?;
        let description = row.map(|row| row.description).unwrap_or_default();
        origins.push(LayerOrigin { created: Some(snapshot.created), description });
    }
    Ok(origins)
}

/// Stores a configuration, as these bytes, and a manifest for it.
pub(crate) fn store_image(
    snapshotter: &Snapshotter,
    config_bytes: Vec<u8>,
    image_config: ImageConfig,
    layers: Vec<Descriptor>,
    oci: bool,
) -> Result<StoredImage> {
    let config = snapshotter.session().put_blob(&config_bytes)?;
    let manifest = Manifest {
        media_type: if oci { MediaType::OciManifest } else { MediaType::DockerManifest },
        config: Descriptor::new(if oci { MediaType::OciConfig } else { MediaType::DockerConfig }, config.digest, config.size),
        layers: if oci { layers } else { layers.into_iter().map(without_annotations).collect() },
        annotations: BTreeMap::new(),
        extra: BTreeMap::new(),
    };
    store_manifest(snapshotter, manifest, image_config)
}

/// Docker's descriptors have no annotations.
fn without_annotations(descriptor: Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size)
}

fn store_manifest(snapshotter: &Snapshotter, parts: Manifest, image_config: ImageConfig) -> Result<StoredImage> {
    let stat = snapshotter.session().put_blob(&parts.to_json())?;
    Ok(StoredImage { manifest: stat.digest, manifest_size: stat.size, config: parts.config.digest.clone(), parts, image_config })
}

/// The same image with these annotations on its manifest.
///
/// # Errors
/// When the new manifest cannot be stored.
pub fn annotate(snapshotter: &Snapshotter, image: &StoredImage, annotations: &BTreeMap<String, String>) -> Result<StoredImage> {
    let mut parts = image.parts.clone();
    parts.annotations.extend(annotations.clone());
    store_manifest(snapshotter, parts, image.image_config.clone())
}

/// Names the image in the local store; without names it is kept dangling. An image that had a name keeps only its others.
///
/// # Errors
/// When the database cannot be written.
pub fn tag(snapshotter: &Snapshotter, image: &StoredImage, names: &[Reference]) -> Result<()> {
    let (store, session) = (snapshotter.store(), snapshotter.session());
    if names.is_empty() {
        store.tag(session, None, &image.manifest)?;
    }
    for name in names {
        store.tag(session, Some(name), &image.manifest)?;
    }
    Ok(())
}

/// Reads and leases an image of the local store.
///
/// # Errors
/// [`ExportError::MissingBlob`] when it is not there, and when its documents are damaged.
pub fn stored(snapshotter: &Snapshotter, manifest: &Digest) -> Result<StoredImage> {
    if !snapshotter.session().lease(&Resource::Image(manifest.clone()))? {
        return Err(ExportError::MissingBlob(manifest.clone()));
    }
    let bytes = read_blob(snapshotter, manifest, MAX_MANIFEST_BYTES)?;
    let parts = Manifest::from_json(&bytes).document(manifest)?;
    let config = parts.config.digest.clone();
    let image_config = ImageConfig::from_json(&read_blob(snapshotter, &config, MAX_CONFIG_BYTES)?).document(&config)?;
    Ok(StoredImage { manifest: manifest.clone(), manifest_size: bytes.len() as u64, config, parts, image_config })
}

pub(crate) fn read_blob(snapshotter: &Snapshotter, digest: &Digest, limit: usize) -> Result<Vec<u8>> {
    let bytes = snapshotter.store().read_blob(digest, limit as u64)?;
    bytes.ok_or_else(|| ExportError::MissingBlob(digest.clone()))
}
