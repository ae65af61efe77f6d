//! Loading what `docker save` wrote before it wrote OCI layouts, and what skopeo and podman write as docker-archive.
//!
//! ```text
//! manifest.json                 [{Config, RepoTags, Layers}]
//! <hex>.json                    configurations
//! <id>/layer.tar, <hex>.tar     layers, mostly plain tars; some are links to another
//! ```
//! Each layer is checked against its diff id here, since nothing else promises a digest.

use std::io::Read;

use rbuild_fs::archive::{Compression, decoder, detect};
use rbuild_oci::{
    Descriptor, DiffId, DockerArchiveEntry, ImageConfig, LayerCompression, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, MediaType,
    Reference,
};
use rbuild_snapshotter::Snapshotter;
use rbuild_store::BlobStat;

use crate::digesting::HashReader;
use crate::error::{ExportError, InDocument, InStream, Result};
use crate::files::{Files, store_stream};
use crate::image::store_image;
use crate::queue::in_parallel;
use crate::{LoadedImage, StoredImage};

/// Stores the images of a docker archive; names nothing.
pub(crate) fn load(snapshotter: &Snapshotter, files: &Files) -> Result<Vec<LoadedImage>> {
    let name = "manifest.json";
    let bytes = files.document(snapshotter, name, MAX_MANIFEST_BYTES)?.ok_or_else(|| ExportError::MissingFile(name.into()))?;
    let entries = DockerArchiveEntry::parse(&bytes).document(name)?;
    if entries.is_empty() {
        return Err(ExportError::bad_archive(name, "it lists no image"));
    }
    entries.iter().map(|entry| load_entry(snapshotter, files, entry)).collect()
}

fn load_entry(snapshotter: &Snapshotter, files: &Files, entry: &DockerArchiveEntry) -> Result<LoadedImage> {
    let names = entry.repo_tags.iter().flatten().map(|tag| Ok(tag.parse::<Reference>()?)).collect::<Result<Vec<_>>>()?;
    let missing = || ExportError::MissingFile(entry.config.clone());
    let config = files.document(snapshotter, &entry.config, MAX_CONFIG_BYTES)?.ok_or_else(missing)?;
    let image_config = ImageConfig::from_json(&config).document(&entry.config)?;
    let diff_ids = &image_config.rootfs.diff_ids;
    if entry.layers.len() != diff_ids.len() {
        let reason = format!("the archive has {} layers for it, but its configuration {}", entry.layers.len(), diff_ids.len());
        return Err(ExportError::bad_image(&entry.config, reason));
    }
    let pairs: Vec<(&String, &DiffId)> = entry.layers.iter().zip(diff_ids).collect();
    let layers = in_parallel(&pairs, |(path, diff_id)| load_layer(snapshotter, files, path, diff_id))?;
    let image: StoredImage = store_image(snapshotter, config, image_config, layers, true)?;
    Ok(LoadedImage { image, names })
}

fn load_layer(snapshotter: &Snapshotter, files: &Files, path: &str, diff_id: &DiffId) -> Result<Descriptor> {
    let stat = files.store(snapshotter, path, None)?.ok_or_else(|| ExportError::MissingFile(path.into()))?;
    let (compression, tar) = open(snapshotter, path, &stat)?;
    let (compression, stat) = match compression {
        Compression::None => (LayerCompression::None, stat),
        Compression::Gzip => (LayerCompression::Gzip, check(path, tar, diff_id, stat)?),
        Compression::Zstd => (LayerCompression::Zstd, check(path, tar, diff_id, stat)?),
        // No media type says so: stored as a plain tar.
        Compression::Bzip2 | Compression::Xz => (LayerCompression::None, store_stream(snapshotter, path, None, &mut { tar })?),
    };
    if compression == LayerCompression::None && stat.digest != diff_id.0 {
        let what = format!("layer `{path}`");
        return Err(ExportError::Mismatch { what, expected: diff_id.0.clone(), actual: stat.digest });
    }
    snapshotter.store().set_diff_id(&stat.digest, diff_id)?;
    Ok(Descriptor::new(MediaType::layer(compression, true), stat.digest, stat.size))
}

/// The stored blob, decoded.
fn open(snapshotter: &Snapshotter, path: &str, stat: &BlobStat) -> Result<(Compression, Box<dyn Read + Send>)> {
    let step = || format!("read `{path}`");
    let missing = || ExportError::MissingBlob(stat.digest.clone());
    let mut file = snapshotter.store().open_blob(&stat.digest)?.ok_or_else(missing)?;
    let mut prefix = Vec::new();
    (&mut file).take(512).read_to_end(&mut prefix).stream(step)?;
    let compression = detect(&prefix);
    let whole = std::io::Cursor::new(prefix).chain(file);
    Ok((compression, decoder(Box::new(whole), compression).stream(step)?))
}

fn check(path: &str, tar: Box<dyn Read + Send>, diff_id: &DiffId, stat: BlobStat) -> Result<BlobStat> {
    let actual = HashReader::new(tar, diff_id.0.algorithm()).finish().stream(|| format!("decode `{path}`"))?.digest;
    if actual == diff_id.0 {
        return Ok(stat);
    }
    Err(ExportError::Mismatch { what: format!("the uncompressed layer `{path}`"), expected: diff_id.0.clone(), actual })
}
