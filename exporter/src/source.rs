//! Where the bytes of a layer come from: a stored blob, a snapshot that gives them again, or an OCI layout directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rbuild_fs::Root;
use rbuild_fs::archive::{Codec, Compression, decoder};
use rbuild_oci::{Descriptor, Digest, LayerCompression};
use rbuild_snapshotter::{Snapshot, Snapshotter};
use rbuild_store::Resource;

use crate::digesting::{Passed, TapReader};
use crate::error::{AtPath, ExportError, InStream, Result};
use crate::layer::{self, LayerSpec};
use crate::layout::blob_path;
use crate::pipe::{self, PipeReader};

/// Where a layer's blob is.
pub(crate) enum LayerSource {
    /// In the store, leased.
    Stored,
    /// Nowhere: an uncompressed tar that this snapshot gives again.
    Virtual(VirtualLayer),
    /// In a layout directory, not verified yet.
    Layout(File),
}

/// A layer that is made from a snapshot whenever its bytes are asked for.
pub(crate) struct VirtualLayer {
    pub(crate) snapshot: Snapshot,
    pub(crate) spec: LayerSpec,
}

/// Finds a layer's blob and leases what it is made of. `layout` is looked at last.
pub(crate) fn locate(snapshotter: &Snapshotter, blob: &Digest, layout: Option<&Path>) -> Result<LayerSource> {
    if snapshotter.session().lease(&Resource::Blob(blob.clone()))? {
        return Ok(LayerSource::Stored);
    }
    if let Some(made) = made_before(snapshotter, blob)? {
        if made.spec.codec == Codec::None {
            return Ok(LayerSource::Virtual(made));
        }
        let row = layer::layer(snapshotter, &made.snapshot, &made.spec)?;
        if row.blob == *blob {
            return Ok(LayerSource::Stored);
        }
    }
    match layout {
        Some(directory) => open_in_layout(directory, blob),
        None => Err(ExportError::MissingBlob(blob.clone())),
    }
}

/// The snapshot that a blob was made from, if it is still there.
fn made_before(snapshotter: &Snapshotter, blob: &Digest) -> Result<Option<VirtualLayer>> {
    let Some((key, _)) = snapshotter.store().layer_by_blob(blob)? else { return Ok(None) };
    let Some(spec) = LayerSpec::from_key(&key) else { return Ok(None) };
    let snapshot = snapshotter.open(&key.snapshot)?;
    Ok(snapshot.map(|snapshot| VirtualLayer { snapshot, spec }))
}

fn open_in_layout(directory: &Path, blob: &Digest) -> Result<LayerSource> {
    let root = Root::open(directory).at("open", directory)?;
    match root.open_file(Path::new(&blob_path(blob))) {
        Ok(file) => Ok(LayerSource::Layout(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ExportError::MissingBlob(blob.clone())),
        Err(error) => Err(error).at("open", &directory.join(blob_path(blob))),
    }
}

impl LayerSource {
    /// The blob's bytes, not verified.
    pub(crate) fn open(self, snapshotter: &Snapshotter, blob: &Digest) -> Result<Box<dyn Read + Send>> {
        match self {
            LayerSource::Stored => match snapshotter.store().open_blob(blob)? {
                Some(file) => Ok(Box::new(file)),
                None => Err(ExportError::MissingBlob(blob.clone())),
            },
            LayerSource::Virtual(made) => Ok(Box::new(made.stream(snapshotter)?)),
            LayerSource::Layout(file) => Ok(Box::new(file)),
        }
    }
}

impl VirtualLayer {
    fn stream(self, snapshotter: &Snapshotter) -> Result<PipeReader> {
        let snapshotter = snapshotter.clone();
        let VirtualLayer { snapshot, spec } = self;
        let id = snapshot.id.clone();
        pipe::produce("layer-again", move |out| {
            snapshotter.write_layer(&snapshot, &spec.times, out).map_err(|error| io::Error::other(ExportError::from(error)))
        })
        .stream(|| format!("make the layer of snapshot `{}` again", id.0))
    }
}

/// A layer's blob that fails at its end unless digest and size are the descriptor's.
pub(crate) fn verified(from: Box<dyn Read + Send>, descriptor: &Descriptor) -> impl Read + Send + use<> {
    let (inner, tap) = TapReader::new(from, descriptor.digest.algorithm());
    let (digest, size) = (descriptor.digest.clone(), descriptor.size);
    Verified { inner, check: move || check(&digest, size, tap.passed()) }
}

struct Verified<R, C> {
    inner: R,
    check: C,
}

impl<R: Read, C: Fn() -> Result<()>> Read for Verified<R, C> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        if got == 0 && !buf.is_empty() {
            (self.check)().map_err(io::Error::other)?;
        }
        Ok(got)
    }
}

fn check(digest: &Digest, size: u64, passed: Passed) -> Result<()> {
    if passed.size != size {
        return Err(ExportError::Size { digest: digest.clone(), expected: size, actual: passed.size });
    }
    if passed.digest != *digest {
        let what = format!("blob {digest}");
        return Err(ExportError::Mismatch { what, expected: digest.clone(), actual: passed.digest });
    }
    Ok(())
}

/// The layer's tar, decoded in a thread of its own. Digest and size of the blob are checked before its end is told.
pub(crate) fn decoded(from: Box<dyn Read + Send>, descriptor: &Descriptor) -> Result<PipeReader> {
    let compression = match descriptor.media_type.compression() {
        Some(LayerCompression::None) => Compression::None,
        Some(LayerCompression::Gzip) => Compression::Gzip,
        Some(LayerCompression::Zstd) => Compression::Zstd,
        None => {
            let reason = format!("media type `{}` is not that of a layer", descriptor.media_type);
            return Err(ExportError::bad_image(&descriptor.digest, reason));
        }
    };
    let (raw, tap) = TapReader::new(from, descriptor.digest.algorithm());
    let (digest, size) = (descriptor.digest.clone(), descriptor.size);
    let step = format!("decode blob {digest}");
    pipe::produce("decode", move |out| {
        let mut tar = decoder(Box::new(raw.take(size.saturating_add(1))), compression)?;
        io::copy(&mut tar, out)?;
        check(&digest, size, tap.passed()).map_err(io::Error::other)
    })
    .stream(|| step)
}
