//! The unpacked file system of a stored image: found under its chain id, or made layer by layer.
//!
//! Each layer streams: a thread reads and decodes the blob, this one hashes the tar and applies it. A state is committed only
//! when both the blob's digest and the diff id are right.

use rbuild_oci::{ChainId, Descriptor, DiffId};
use rbuild_snapshotter::{Snapshot, Snapshotter};

use crate::StoredImage;
use crate::digesting::HashReader;
use crate::error::{ExportError, InStream, Result};
use crate::image::check_diff_id;
use crate::source::{decoded, locate};

/// The file system of an image (`None`: it has no layers). Starts at the longest stack that is unpacked already. Blocking;
/// threads and processes that unpack one image wait for each other.
///
/// # Errors
/// When a layer is missing, damaged or not what its digests say.
pub fn unpack(snapshotter: &Snapshotter, image: &StoredImage) -> Result<Option<Snapshot>> {
    let (layers, diff_ids) = (&image.parts.layers, &image.image_config.rootfs.diff_ids);
    check_counts(image)?;
    let Some(chain) = ChainId::of(diff_ids) else { return Ok(None) };
    if let Some(snapshot) = snapshotter.open_chain(&chain)? {
        return Ok(Some(snapshot));
    }
    let _lock = snapshotter.store().lock(&format!("unpack-{}", &chain.0.hex()[..32]))?;
    let (unpacked, mut state) = longest_prefix(snapshotter, diff_ids)?;
    let mut chain = ChainId::of(&diff_ids[..unpacked]);
    for (descriptor, diff_id) in layers.iter().zip(diff_ids).skip(unpacked) {
        let snapshot = unpack_layer(snapshotter, state.as_ref(), descriptor, diff_id)?;
        let next = ChainId::extend(chain.as_ref(), diff_id);
        snapshotter.store().set_chain(&next, &snapshot.id)?;
        (state, chain) = (Some(snapshot), Some(next));
    }
    Ok(state)
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

fn longest_prefix(snapshotter: &Snapshotter, diff_ids: &[DiffId]) -> Result<(usize, Option<Snapshot>)> {
    let mut chains = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chains.push(ChainId::extend(chains.last(), diff_id));
    }
    for (below, chain) in chains.iter().enumerate().rev() {
        if let Some(snapshot) = snapshotter.open_chain(chain)? {
            return Ok((below + 1, Some(snapshot)));
        }
    }
    Ok((0, None))
}

fn unpack_layer(
    snapshotter: &Snapshotter,
    parent: Option<&Snapshot>,
    descriptor: &Descriptor,
    diff_id: &DiffId,
) -> Result<Snapshot> {
    let blob = locate(snapshotter, &descriptor.digest, None)?.open(snapshotter, &descriptor.digest)?;
    let mut tar = HashReader::new(decoded(blob, descriptor)?, diff_id.0.algorithm());
    let applied = snapshotter.apply(parent, &mut tar);
    let rest = tar.finish().stream(|| format!("read blob {}", descriptor.digest));
    let state = match (applied, rest) {
        (Ok(state), Ok(passed)) => {
            check_diff_id(descriptor, diff_id, passed.digest)?;
            state
        }
        // That the blob is not what its digest says is the reason, whatever applying it said.
        (Ok(_), Err(error)) | (Err(_), Err(error @ (ExportError::Mismatch { .. } | ExportError::Size { .. }))) => {
            return Err(error);
        }
        (Err(error), Ok(_) | Err(_)) => return Err(error.into()),
    };
    Ok(snapshotter.driver().commit(state, &format!("layer {}", descriptor.digest))?)
}
