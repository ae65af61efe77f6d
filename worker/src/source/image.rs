//! Images: their keys, and their file systems, which are made when a step needs them and not before.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rbuild_fs::Root;
use rbuild_graph::Encoder;
use rbuild_oci::{ChainId, Descriptor, DiffId, Digest};
use rbuild_snapshotter::{Snapshot, Snapshotter, unpack_layers};
use rbuild_solver::RootKey;

use crate::WorkError;
use crate::options::{ImageHandle, ImageOrigin};
use crate::worker::blocking;

/// Unpackings under way in this process, one for each stack of layers.
#[derive(Default)]
pub(crate) struct Unpacks {
    flights: Mutex<HashMap<ChainId, Arc<tokio::sync::Mutex<()>>>>,
}

/// The keys of an image: what its manifest is, and what its layers are (spec §4.2), so that a new manifest with the same layers hits.
pub(crate) fn root_keys(image: &ImageHandle) -> Vec<RootKey> {
    let key = |domain: &str, digest: &Digest| {
        let mut to = Encoder::new(domain);
        to.text(&digest.to_string());
        RootKey(to.finish())
    };
    let mut keys = vec![key("rbuild.root.manifest.v1", &image.manifest)];
    keys.extend(ChainId::of(&image.diff_ids).map(|chain| key("rbuild.root.chain.v1", &chain.0)));
    keys
}

/// The image's file system; `None` without layers.
pub(crate) async fn unpack(
    unpacks: &Unpacks,
    snapshotter: &Snapshotter,
    image: &Arc<ImageHandle>,
) -> Result<Option<Snapshot>, WorkError> {
    let Some(chain) = ChainId::of(&image.diff_ids) else { return Ok(None) };
    let flight = Arc::clone(unpacks.flights.lock().unwrap_or_else(PoisonError::into_inner).entry(chain.clone()).or_default());
    let _flight = flight.lock_owned().await;
    let (snapshotter, image) = (snapshotter.clone(), Arc::clone(image));
    blocking(move || unpack_now(&snapshotter, &image, &chain)).await
}

fn unpack_now(snapshotter: &Snapshotter, image: &ImageHandle, chain: &ChainId) -> Result<Option<Snapshot>, WorkError> {
    let open = |source| WorkError::Snapshot { step: "opened", source };
    if let Some(snapshot) = snapshotter.open_chain(chain).map_err(open)? {
        return Ok(Some(snapshot));
    }
    // One process unpacks, the others find the chain when they get the lock.
    let lock = snapshotter.store().lock(&format!("chain-{}", chain.0.hex()));
    let _lock = lock.map_err(|source| WorkError::Store { step: "lock the image's layers", source })?;
    let name = || image.reference.as_ref().map_or_else(|| image.manifest.to_string(), ToString::to_string);
    if image.layers.len() != image.diff_ids.len() {
        return Err(WorkError::BadImage {
            image: name(),
            reason: "its manifest and its configuration have different numbers of layers",
        });
    }
    let layers: Vec<(Descriptor, DiffId)> = image.layers.iter().cloned().zip(image.diff_ids.iter().cloned()).collect();
    unpack_layers(snapshotter, &layers, &|layer| open_blob(snapshotter, &image.origin, layer))
        .map_err(|source| WorkError::Unpack { image: name(), source: Box::new(source) })
}

fn open_blob(snapshotter: &Snapshotter, origin: &ImageOrigin, layer: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
    let file: File = match origin {
        ImageOrigin::Store => {
            let blob = snapshotter.store().open_blob(&layer.digest).map_err(io::Error::other)?;
            blob.ok_or(io::ErrorKind::NotFound)?
        }
        ImageOrigin::Layout(directory) => Root::open(directory)?.open_file(&blob_path(&layer.digest))?,
    };
    Ok(Box::new(file))
}

/// Where an OCI layout has a blob (image spec, image-layout.md).
fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs").join(digest.algorithm().as_str()).join(digest.hex())
}
