//! Unpacks an image's layers into a chain of snapshots.
//!
//! ```text
//! blob ─sha256→ decoder ─chunks→ sha256 (diff id) → apply → verified? → commit, chain id → snapshot
//! └──────── a thread ────────┘   └───────────── the caller ─────────────┘
//! ```
//! Nothing of a layer is visible before its size, digest and diff id have matched.

use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rbuild_fs::archive;
use rbuild_oci::{Algorithm, ChainId, Descriptor, DiffId, Digest, Digester};

use crate::{Snapshot, SnapshotError, Snapshotter};

/// Decoded bytes handed over at once.
const CHUNK: usize = 256 << 10;
/// Chunks that may wait.
const QUEUE: usize = 16;
/// The first bytes, by which the compression is told.
const PREFIX: u64 = 16;

/// Opens the blob of a layer; what it reads is verified here. `NotFound` when there is none.
pub type OpenBlob<'a> = dyn Fn(&Descriptor) -> io::Result<Box<dyn Read + Send>> + 'a;

/// Why an image could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The blob of a layer is not there.
    #[error("layer {0} is not stored")]
    MissingBlob(Digest),
    /// The blob of a layer cannot be opened or read.
    #[error("layer {layer} could not be read")]
    Read {
        /// Its blob.
        layer: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compressed bytes, or their number, are not what the manifest says.
    #[error("layer {layer} has the {what} {actual}")]
    Mismatch {
        /// What it should be: its blob or its diff id.
        layer: Digest,
        /// `digest`, `size` or `diff id`.
        what: &'static str,
        /// What it is.
        actual: String,
    },
    /// The layer cannot be applied.
    #[error("layer {layer} could not be applied")]
    Apply {
        /// Its blob.
        layer: Digest,
        /// Why.
        #[source]
        source: SnapshotError,
    },
    /// The snapshots of an earlier unpacking cannot be opened.
    #[error("the unpacked image could not be opened")]
    Open(#[source] SnapshotError),
}

impl UnpackError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            UnpackError::MissingBlob(_) => Some("load or pull the image again".to_owned()),
            UnpackError::Mismatch { .. } => Some("the image is damaged: load or pull it again".to_owned()),
            UnpackError::Read { .. } | UnpackError::Apply { .. } | UnpackError::Open(_) => None,
        }
    }
}

/// The file system of a stack of layers, base first; `None` without layers. Goes on from the longest part that is unpacked already.
/// Blocks. Several callers at once do the work several times, and agree in the end.
///
/// # Errors
/// When a blob is missing, damaged or cannot be applied; layers below it stay unpacked.
pub fn unpack_layers(
    snapshotter: &Snapshotter,
    layers: &[(Descriptor, DiffId)],
    open: &OpenBlob<'_>,
) -> Result<Option<Snapshot>, UnpackError> {
    let chains: Vec<ChainId> = layers
        .iter()
        .scan(None, |chain, (_, diff_id)| {
            *chain = Some(ChainId::extend(chain.as_ref(), diff_id));
            chain.clone()
        })
        .collect();
    let mut done = 0;
    let mut top = None;
    for (index, chain) in chains.iter().enumerate().rev() {
        if let Some(snapshot) = snapshotter.open_chain(chain).map_err(UnpackError::Open)? {
            (done, top) = (index + 1, Some(snapshot));
            break;
        }
    }
    for ((layer, diff_id), chain) in layers.iter().zip(&chains).skip(done) {
        let snapshot = unpack_layer(snapshotter, top.as_ref(), layer, diff_id, open)?;
        let set = snapshotter.store().set_chain(chain, &snapshot.id);
        set.map_err(|error| UnpackError::Apply { layer: layer.digest.clone(), source: error.into() })?;
        top = Some(snapshot);
    }
    Ok(top)
}

fn unpack_layer(
    snapshotter: &Snapshotter,
    parent: Option<&Snapshot>,
    layer: &Descriptor,
    diff_id: &DiffId,
    open: &OpenBlob<'_>,
) -> Result<Snapshot, UnpackError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            UnpackError::MissingBlob(layer.digest.clone())
        } else {
            UnpackError::Read { layer: layer.digest.clone(), source }
        }
    };
    let raw = Arc::new(Mutex::new(Hashing {
        inner: open(layer).map_err(failed)?,
        digester: Digester::new(layer.digest.algorithm()),
        size: 0,
        limit: layer.size,
    }));
    let (sender, receiver) = sync_channel(QUEUE);
    let decoding = {
        let raw = Shared(Arc::clone(&raw));
        thread::spawn(move || decode(raw, &sender))
    };
    let mut tar = Chunks { receiver, current: Cursor::default(), digester: Digester::new(Algorithm::Sha256) };
    let applied = snapshotter.apply(parent, &mut tar);
    // The rest of the stream counts for its digests: padding, and what a broken layer left unread.
    let drained = if applied.is_ok() { io::copy(&mut tar, &mut io::sink()).map(drop) } else { Ok(()) };
    let Chunks { receiver, digester, .. } = tar;
    drop(receiver);
    let decoded = decoding.join().unwrap_or_else(|_panic| Err(io::Error::other("the decoder panicked")));
    let damaged = |source| UnpackError::Read { layer: layer.digest.clone(), source };
    let active = match (applied, decoded) {
        (Ok(active), Ok(())) => active,
        (Ok(_), Err(source)) => return Err(damaged(source)),
        // A decoder that failed by itself, and not because nobody listened, is the cause.
        (Err(_), Err(source)) if source.kind() != io::ErrorKind::BrokenPipe => return Err(damaged(source)),
        (Err(source), _) => return Err(UnpackError::Apply { layer: layer.digest.clone(), source }),
    };
    drained.map_err(damaged)?;
    let Ok(raw) = Arc::try_unwrap(raw).map(|raw| raw.into_inner().unwrap_or_else(PoisonError::into_inner)) else {
        return Err(damaged(io::Error::other("the decoder still reads")));
    };
    verify(layer, raw, diff_id, digester)?;
    let committed = snapshotter.driver().commit(active, &format!("layer {}", layer.digest));
    committed.map_err(|source| UnpackError::Apply { layer: layer.digest.clone(), source })
}

fn verify(layer: &Descriptor, raw: Hashing, diff_id: &DiffId, decoded: Digester) -> Result<(), UnpackError> {
    if raw.size != layer.size {
        return Err(UnpackError::Mismatch { layer: layer.digest.clone(), what: "size", actual: raw.size.to_string() });
    }
    let digest = raw.digester.finish();
    if digest != layer.digest {
        return Err(UnpackError::Mismatch { layer: layer.digest.clone(), what: "digest", actual: digest.to_string() });
    }
    let decoded = decoded.finish();
    if decoded != diff_id.0 {
        return Err(UnpackError::Mismatch { layer: diff_id.0.clone(), what: "diff id", actual: decoded.to_string() });
    }
    Ok(())
}

/// Decodes to the end of the blob, also past the end of its last member.
fn decode(mut raw: Shared, to: &SyncSender<Vec<u8>>) -> io::Result<()> {
    let mut prefix = Vec::new();
    raw.by_ref().take(PREFIX).read_to_end(&mut prefix)?;
    let compression = archive::detect(&prefix);
    let whole = Box::new(Cursor::new(prefix).chain(Shared(Arc::clone(&raw.0))));
    let mut decoder = archive::decoder(whole, compression)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        decoder.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        to.send(chunk).map_err(|_nobody_listens| io::Error::from(io::ErrorKind::BrokenPipe))?;
    }
    drop(decoder);
    io::copy(&mut raw, &mut io::sink()).map(drop)
}

/// The blob as it is read: counted, hashed, and not longer than promised.
struct Hashing {
    inner: Box<dyn Read + Send>,
    digester: Digester,
    size: u64,
    limit: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digester.update(&buffer[..read]);
        self.size += read as u64;
        if self.size > self.limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the blob is longer than its descriptor says"));
        }
        Ok(read)
    }
}

/// The blob, shared by the decoder (which may stop early) and who reads the rest.
struct Shared(Arc<Mutex<Hashing>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

/// The decoded stream at the caller's end.
struct Chunks {
    receiver: Receiver<Vec<u8>>,
    current: Cursor<Vec<u8>>,
    digester: Digester,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                self.digester.update(&buffer[..read]);
                return Ok(read);
            }
            match self.receiver.recv() {
                Ok(chunk) => self.current = Cursor::new(chunk),
                // The decoder is done, or failed; who joined it knows.
                Err(_) => return Ok(0),
            }
        }
    }
}
