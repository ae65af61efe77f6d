//! The unpacked file system of a stored image: found under its chain id, or made layer by layer by the snapshotter.

use std::io::{self, Read};

use rbuild_oci::{ChainId, Descriptor, DiffId};
use rbuild_snapshotter::{Snapshot, Snapshotter, unpack_layers};

use crate::StoredImage;
use crate::error::{ExportError, Result};
use crate::source::locate;

/// The file system of an image (`None`: it has no layers). Starts at the longest stack that is unpacked already; a state is
/// visible only when digest, size and diff id were right. Blocking; threads and processes that unpack one image wait for each other.
///
/// # Errors
/// When a layer is missing, damaged or not what its digests say.
pub fn unpack(snapshotter: &Snapshotter, image: &StoredImage) -> Result<Option<Snapshot>> {
    check_counts(image)?;
    let diff_ids = &image.image_config.rootfs.diff_ids;
    let Some(chain) = ChainId::of(diff_ids) else { return Ok(None) };
    if let Some(snapshot) = snapshotter.open_chain(&chain)? {
        return Ok(Some(snapshot));
    }
    let _lock = snapshotter.store().lock(&format!("chain-{}", chain.0.hex()))?;
    let layers: Vec<(Descriptor, DiffId)> = image.parts.layers.iter().cloned().zip(diff_ids.iter().cloned()).collect();
    let unpacked = unpack_layers(snapshotter, &layers, &|layer| open(snapshotter, layer));
    unpacked.map_err(|error| ExportError::Unpack { image: image.manifest.clone(), source: Box::new(error) })
}

fn open(snapshotter: &Snapshotter, layer: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
    let opened = locate(snapshotter, &layer.digest, None).and_then(|source| source.open(snapshotter, &layer.digest));
    opened.map_err(|error| {
        let missing = matches!(error, ExportError::MissingBlob(_));
        if missing { io::ErrorKind::NotFound.into() } else { io::Error::other(error) }
    })
}

/// An error unless the manifest has as many layers as the configuration.
pub(crate) fn check_counts(image: &StoredImage) -> Result<()> {
    let (layers, diff_ids) = (image.parts.layers.len(), image.image_config.rootfs.diff_ids.len());
    if layers == diff_ids {
        return Ok(());
    }
    let reason = format!("its manifest has {layers} layers, but its configuration {diff_ids}");
    Err(ExportError::bad_image(&image.manifest, reason))
}
