//! OCI and docker archives of images of the store, in the shape of containerd's exporter.
//!
//! ```text
//! blobs/sha256/<hex>   manifests, configurations, layers: each once
//! index.json           one entry for each name
//! manifest.json        docker archives only: what `docker load` reads
//! oci-layout
//! ```
//! The bytes are a function of the images and names alone: sorted, without times and owners.

use std::collections::BTreeMap;
use std::io::Read;

use rbuild_oci::{Descriptor, Digest, DockerArchiveEntry, Index, MediaType, OciLayout, Reference};
use rbuild_snapshotter::Snapshotter;

use crate::error::{ExportError, Result};
use crate::layout::blob_path;
use crate::output::{Destination, write_to};
use crate::resolve::{IMAGE_NAME, REF_NAME};
use crate::sink::{DirectorySink, LayoutSink, TarSink};
use crate::source::{locate, verified};
use crate::{StoredImage, image};

/// Which archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// `oci-layout`, `index.json`, blobs.
    Oci,
    /// The same plus `manifest.json` for `docker load`.
    Docker,
}

/// Writes one or several images as one archive or layout directory. Layers stream; a failed export leaves nothing behind, and a
/// layout directory that existed keeps what it had.
///
/// # Errors
/// When a layer is missing or not what its digest says, or the destination cannot be written.
pub fn write_archive(
    snapshotter: &Snapshotter,
    images: &[(StoredImage, Vec<Reference>)],
    kind: ArchiveKind,
    to: &Destination,
) -> Result<()> {
    let contents = Contents::of(images, kind);
    match to {
        Destination::Directory(path) => {
            let mut sink = DirectorySink::open(path, snapshotter.session().new_snapshot_id().0)?;
            contents.write(snapshotter, &mut sink)?;
            sink.finish();
            Ok(())
        }
        Destination::File(_) | Destination::Stdout => write_to(snapshotter, to, |out| {
            let mut sink = TarSink::new(out);
            contents.write(snapshotter, &mut sink)?;
            sink.finish()
        }),
    }
}

/// Everything that is to be written, by name.
struct Contents {
    /// Blobs by path.
    blobs: BTreeMap<String, Blob>,
    index: Index,
    docker: Option<Vec<DockerArchiveEntry>>,
}

enum Blob {
    Document(Digest, usize),
    Layer(Descriptor),
}

impl Contents {
    fn of(images: &[(StoredImage, Vec<Reference>)], kind: ArchiveKind) -> Contents {
        let mut blobs = BTreeMap::new();
        let mut named: BTreeMap<Digest, (&StoredImage, Vec<&Reference>)> = BTreeMap::new();
        let mut order = Vec::new();
        for (image, names) in images {
            blobs.insert(blob_path(&image.manifest), Blob::Document(image.manifest.clone(), rbuild_oci::MAX_MANIFEST_BYTES));
            blobs.insert(blob_path(&image.config), Blob::Document(image.config.clone(), rbuild_oci::MAX_CONFIG_BYTES));
            blobs.extend(image.parts.layers.iter().map(|layer| (blob_path(&layer.digest), Blob::Layer(layer.clone()))));
            let (_, all) = named.entry(image.manifest.clone()).or_insert_with(|| {
                order.push(image.manifest.clone());
                (image, Vec::new())
            });
            all.extend(names.iter().filter(|name| !all.contains(name)).collect::<Vec<_>>());
        }
        let in_order = || order.iter().filter_map(|digest| named.get(digest));
        let manifests = in_order().flat_map(|(image, names)| index_entries(image, names)).collect();
        let index = Index { media_type: MediaType::OciIndex, manifests, annotations: BTreeMap::new(), extra: BTreeMap::new() };
        let docker = (kind == ArchiveKind::Docker).then(|| in_order().map(|(image, names)| docker_entry(image, names)).collect());
        Contents { blobs, index, docker }
    }

    fn write(self, snapshotter: &Snapshotter, sink: &mut dyn LayoutSink) -> Result<()> {
        for (path, blob) in &self.blobs {
            match blob {
                Blob::Document(digest, limit) => sink.file(path, &image::read_blob(snapshotter, digest, *limit)?)?,
                Blob::Layer(descriptor) if sink.has(path, descriptor.size)? => {}
                Blob::Layer(descriptor) => {
                    let mut from = layer(snapshotter, descriptor)?;
                    sink.stream(path, descriptor.size, &mut from)?;
                    finish(&mut from, descriptor)?;
                }
            }
        }
        sink.index(self.index)?;
        if let Some(entries) = self.docker {
            sink.file("manifest.json", &DockerArchiveEntry::to_json(&entries))?;
        }
        sink.file("oci-layout", &OciLayout::to_json())
    }
}

fn layer(snapshotter: &Snapshotter, descriptor: &Descriptor) -> Result<impl Read + Send + use<>> {
    let source = locate(snapshotter, &descriptor.digest, None)?;
    Ok(verified(source.open(snapshotter, &descriptor.digest)?, descriptor))
}

/// The check is at the end, and a sink may stop before it.
fn finish(from: &mut impl Read, descriptor: &Descriptor) -> Result<()> {
    use crate::error::InStream;
    let more = std::io::copy(from, &mut std::io::sink()).stream(|| format!("read blob {}", descriptor.digest))?;
    if more == 0 {
        return Ok(());
    }
    let (digest, expected) = (descriptor.digest.clone(), descriptor.size);
    Err(ExportError::Size { digest, expected, actual: expected + more })
}

fn index_entries(image: &StoredImage, names: &[&Reference]) -> Vec<Descriptor> {
    let entry = Descriptor::new(image.parts.media_type.clone(), image.manifest.clone(), image.manifest_size);
    if names.is_empty() {
        return vec![entry];
    }
    let named = |name: &&Reference| {
        let mut entry = entry.clone();
        entry.annotations.insert(IMAGE_NAME.into(), name.to_string());
        if let Some(tag) = name.tag() {
            entry.annotations.insert(REF_NAME.into(), tag.into());
        }
        entry
    };
    names.iter().map(named).collect()
}

fn docker_entry(image: &StoredImage, names: &[&Reference]) -> DockerArchiveEntry {
    let tags: Vec<String> = names.iter().filter(|name| name.tag().is_some()).map(|name| name.familiar()).collect();
    DockerArchiveEntry {
        config: blob_path(&image.config),
        repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
        layers: image.parts.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
    }
}
