//! Loading an OCI layout, from an archive or a directory: the manifests' bytes are kept, so that digests stay what they were.

use std::collections::BTreeMap;

use rbuild_oci::{
    Descriptor, DockerArchiveEntry, ImageConfig, Index, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, OciLayout, Platform, Reference,
};
use rbuild_snapshotter::Snapshotter;

use crate::error::{ExportError, InDocument, Result};
use crate::files::Files;
use crate::image::read_blob;
use crate::layout::blob_path;
use crate::resolve::{Choice, IMAGE_NAME, REF_NAME, resolve};
use crate::unpack::check_counts;
use crate::{LoadedImage, StoredImage};

/// Stores the images of a layout; names nothing.
pub(crate) fn load(snapshotter: &Snapshotter, files: &Files) -> Result<Vec<LoadedImage>> {
    let document = |name: &str, limit: usize| {
        let bytes = files.document(snapshotter, name, limit)?;
        bytes.ok_or_else(|| ExportError::MissingFile(name.into()))
    };
    OciLayout::parse(&document("oci-layout", 4096)?).document("oci-layout")?;
    let index = Index::from_json(&document("index.json", MAX_MANIFEST_BYTES)?).document("index.json")?;
    let host = Platform::host();
    let mut loaded: Vec<LoadedImage> = Vec::new();
    for entry in wanted_entries(&index, &host) {
        let image = load_image(snapshotter, files, entry, &host)?;
        match loaded.iter_mut().find(|known| known.image.manifest == image.manifest) {
            Some(known) => known.names.extend(name_of(entry)),
            None => loaded.push(LoadedImage { image, names: name_of(entry).into_iter().collect() }),
        }
    }
    add_docker_names(snapshotter, files, &mut loaded)?;
    if loaded.is_empty() {
        return Err(ExportError::bad_archive("index.json", "it lists no image"));
    }
    Ok(loaded)
}

/// All images; where several entries have one name (one for each platform), the best for this host.
fn wanted_entries<'i>(index: &'i Index, host: &Platform) -> Vec<&'i Descriptor> {
    let mut named: BTreeMap<Reference, Vec<&Descriptor>> = BTreeMap::new();
    for entry in &index.manifests {
        if let Some(name) = name_of(entry) {
            named.entry(name).or_default().push(entry);
        }
    }
    let is_best = |entry: &Descriptor| {
        let same = name_of(entry).and_then(|name| named.get(&name).cloned()).unwrap_or_default();
        let rank = |entry: &Descriptor| entry.platform.as_ref().and_then(|offered| host.accepts(offered)).unwrap_or(usize::MAX);
        same.iter().map(|other| rank(other)).min().is_none_or(|best| rank(entry) == best)
    };
    let is_image = |entry: &Descriptor| entry.media_type.is_manifest() || entry.media_type.is_index();
    index.manifests.iter().filter(|entry| is_image(entry) && !entry.is_attestation() && is_best(entry)).collect()
}

/// An image's name: containerd's annotation, or a reference name that is more than a tag.
fn name_of(entry: &Descriptor) -> Option<Reference> {
    let full = entry.annotations.get(IMAGE_NAME);
    let short = || entry.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
    full.or_else(short)?.parse().ok()
}

fn load_image(snapshotter: &Snapshotter, files: &Files, entry: &Descriptor, host: &Platform) -> Result<StoredImage> {
    let read = &mut |descriptor: &Descriptor| {
        store_blob(snapshotter, files, descriptor)?;
        read_blob(snapshotter, &descriptor.digest, MAX_MANIFEST_BYTES)
    };
    let resolved = resolve(read, entry, Choice::Preferably(host))?;
    let config = resolved.manifest.config.clone();
    store_blob(snapshotter, files, &config)?;
    for layer in &resolved.manifest.layers {
        if !layer.media_type.is_layer() {
            let reason = format!("`{}` is not a layer's media type", layer.media_type);
            return Err(ExportError::bad_image(&resolved.digest, reason));
        }
        store_blob(snapshotter, files, layer)?;
    }
    let image_config =
        ImageConfig::from_json(&read_blob(snapshotter, &config.digest, MAX_CONFIG_BYTES)?).document(&config.digest)?;
    let image = StoredImage {
        manifest: resolved.digest,
        manifest_size: resolved.size,
        config: config.digest,
        parts: resolved.manifest,
        image_config,
    };
    check_counts(&image)?;
    Ok(image)
}

fn store_blob(snapshotter: &Snapshotter, files: &Files, blob: &Descriptor) -> Result<()> {
    let digest = &blob.digest;
    let stat =
        files.store(snapshotter, &blob_path(digest), Some(blob))?.ok_or_else(|| ExportError::MissingBlob(digest.clone()))?;
    if stat.size == blob.size {
        return Ok(());
    }
    Err(ExportError::Size { digest: digest.clone(), expected: blob.size, actual: stat.size })
}

/// An archive that is docker's too may have its names only there.
fn add_docker_names(snapshotter: &Snapshotter, files: &Files, loaded: &mut [LoadedImage]) -> Result<()> {
    if loaded.iter().all(|loaded| !loaded.names.is_empty()) {
        return Ok(());
    }
    let Some(bytes) = files.document(snapshotter, "manifest.json", MAX_MANIFEST_BYTES)? else { return Ok(()) };
    let entries = DockerArchiveEntry::parse(&bytes).document("manifest.json")?;
    for LoadedImage { image, names } in loaded.iter_mut().filter(|loaded| loaded.names.is_empty()) {
        let path = blob_path(&image.config);
        let tags = entries.iter().filter(|entry| entry.config == path).flat_map(|entry| entry.repo_tags.iter().flatten());
        for tag in tags {
            names.push(tag.parse::<Reference>()?);
        }
    }
    Ok(())
}
