//! One layer from one snapshot: diff, tar, diff id, compression and blob digest in a single streaming pass, made once.

use std::io;

use rbuild_fs::archive::{Codec, encoder};
use rbuild_oci::{DiffId, Digest, LayerCompression, MediaType};
use rbuild_snapshotter::{Snapshot, Snapshotter, TimePolicy};
use rbuild_store::{LayerKey, LayerRow, Resource, SnapshotId};

use crate::digesting::{HashWriter, Passed};
use crate::error::{InStream, Result};
use crate::queue::Slot;

/// Version of the layer's tar and of the encoders; another one makes other bytes.
const FORMAT: u32 = 1;

/// How layers are made.
#[derive(Clone, Debug)]
pub struct LayerOptions {
    /// Compression of new layers. With [`Codec::None`] nothing is stored: the layers are virtual.
    pub codec: Codec,
    /// Which times new layers carry.
    pub times: TimePolicy,
    /// Whether the base's layers are compressed anew where their compression is another one.
    pub force_compression: bool,
    /// Media types of the OCI image spec rather than docker's.
    pub oci_media_types: bool,
}

/// What a layer's bytes depend on beside the snapshot.
#[derive(Clone, Debug)]
pub(crate) struct LayerSpec {
    pub(crate) codec: Codec,
    pub(crate) times: TimePolicy,
}

impl LayerSpec {
    pub(crate) fn of(options: &LayerOptions) -> LayerSpec {
        let LayerOptions { codec, times, force_compression: _, oci_media_types: _ } = options;
        LayerSpec { codec: *codec, times: times.clone() }
    }

    /// Reads back what [`LayerSpec::key`] wrote; `None` for a key of another version.
    pub(crate) fn from_key(key: &LayerKey) -> Option<LayerSpec> {
        let codec = match (key.codec.as_str(), key.level) {
            ("none", _) => Codec::None,
            ("gzip", level) => Codec::Gzip { level: u8::try_from(level).ok()? },
            ("zstd", level) => Codec::Zstd { level },
            _ => return None,
        };
        let times = times_from_key(&key.time_policy)?;
        (key.format == FORMAT).then_some(LayerSpec { codec, times })
    }

    fn key(&self, snapshot: &SnapshotId) -> LayerKey {
        let (codec, level) = match self.codec {
            Codec::None => ("none", 0),
            Codec::Gzip { level } => ("gzip", i32::from(level)),
            Codec::Zstd { level } => ("zstd", level),
        };
        LayerKey { snapshot: snapshot.clone(), time_policy: self.times.key(), codec: codec.into(), level, format: FORMAT }
    }
}

fn times_from_key(text: &str) -> Option<TimePolicy> {
    let seconds = text.rsplit(':').next().and_then(|seconds| seconds.parse().ok());
    let dated = seconds.into_iter().flat_map(|seconds| [TimePolicy::Clamp(seconds), TimePolicy::Exactly(seconds)]);
    std::iter::once(TimePolicy::Keep).chain(dated).find(|times| times.key() == text)
}

/// The compression that a codec gives.
pub(crate) fn compression_of(codec: Codec) -> LayerCompression {
    match codec {
        Codec::None => LayerCompression::None,
        Codec::Gzip { .. } => LayerCompression::Gzip,
        Codec::Zstd { .. } => LayerCompression::Zstd,
    }
}

/// Finds or makes the layer of a snapshot that the session holds a lease of. Its blob is leased, unless it is virtual.
/// Blocking. Threads and processes that want the same layer wait for the one that makes it.
pub(crate) fn layer(snapshotter: &Snapshotter, snapshot: &Snapshot, spec: &LayerSpec) -> Result<LayerRow> {
    let key = spec.key(&snapshot.id);
    if let Some(row) = find(snapshotter, &key)? {
        return Ok(row);
    }
    let _lock = snapshotter.store().lock(&lock_name(&key))?;
    if let Some(row) = find(snapshotter, &key)? {
        return Ok(row);
    }
    let _slot = Slot::take();
    let row = make(snapshotter, snapshot, spec)?;
    snapshotter.store().set_layer(&key, &row)?;
    Ok(row)
}

fn lock_name(key: &LayerKey) -> String {
    let LayerKey { snapshot, time_policy, codec, level, format } = key;
    let text = format!("{} {time_policy} {codec} {level} {format}", snapshot.0);
    format!("layer-{}", &Digest::of(text.as_bytes()).hex()[..32])
}

fn find(snapshotter: &Snapshotter, key: &LayerKey) -> Result<Option<LayerRow>> {
    let Some(row) = snapshotter.store().layer(key)? else { return Ok(None) };
    let there = key.codec == "none" || snapshotter.session().lease(&Resource::Blob(row.blob.clone()))?;
    Ok(there.then_some(row))
}

fn make(snapshotter: &Snapshotter, snapshot: &Snapshot, spec: &LayerSpec) -> Result<LayerRow> {
    let media_type = MediaType::layer(compression_of(spec.codec), true);
    let step = || format!("make the layer of snapshot `{}`", snapshot.id.0);
    if spec.codec == Codec::None {
        let mut tar = HashWriter::new(io::sink());
        snapshotter.write_layer(snapshot, &spec.times, &mut tar)?;
        let (_, Passed { digest, size }) = tar.finish();
        return Ok(LayerRow { diff_id: DiffId(digest.clone()), blob: digest, size, media_type });
    }
    let mut blob = snapshotter.session().blob_writer()?;
    let mut tar = HashWriter::new(encoder(spec.codec, Box::new(&mut blob)).stream(step)?);
    snapshotter.write_layer(snapshot, &spec.times, &mut tar)?;
    let (compressed, Passed { digest, .. }) = tar.finish();
    compressed.finish().stream(step)?;
    let stat = blob.finish(None)?;
    Ok(LayerRow { diff_id: DiffId(digest), blob: stat.digest, size: stat.size, media_type })
}
