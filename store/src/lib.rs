//! The state directory: blobs, snapshots' rows, images, cache records, sessions, leases and their collection.
//!
//! SEAM: signatures agreed on; bodies and the split into files are the store's own work.
#![allow(missing_docs, clippy::todo, unused_variables, reason = "seam")]

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rbuild_oci::{ChainId, DiffId, Digest, MediaType, Reference};

/// Nanoseconds since the epoch. Library crates take it, so that tests can say what time it is.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> i64;
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state directory could not {step} `{path}`")]
    Io { step: &'static str, path: PathBuf, #[source] source: io::Error },
    #[error("blob {expected} has the digest {actual}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("seam")]
    Other,
    // … one variant for each step; disk full must be recognisable: fn is_full(&self) -> bool
}
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// An open state directory. Cheap to clone; several processes may have one open.
#[derive(Clone)]
pub struct Store { _inner: Arc<()> }

/// A snapshot's name: 16 random bytes in hexadecimal, also its directory's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub String);

/// A committed snapshot's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    pub id: SnapshotId,
    pub parent: Option<SnapshotId>,
    /// Number of snapshots in the chain, 1 for a base.
    pub depth: u32,
    /// Bytes on disk of its own directory.
    pub size: u64,
    /// When it was committed.
    pub created: i64,
    /// Free text for `du`.
    pub description: String,
}

/// This process's presence: `sessions/<random>/` with a flocked file. Its leases and staging die with it. Shared by Arc.
pub struct Session { _inner: () }

/// What can be leased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource { Blob(Digest), Snapshot(SnapshotId) }

/// Writes one blob into the session's staging; `finish` verifies, moves it into place atomically and leases it.
pub struct BlobWriter { _inner: () }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobStat { pub digest: Digest, pub size: u64 }

/// What a layer was made with (design.md: a layer is made once per these).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerKey {
    pub snapshot: SnapshotId,
    /// Canonical text of the TimePolicy: `default`, `clamp:<seconds>`.
    pub time_policy: String,
    /// `none`, `gzip`, `zstd`
    pub codec: String,
    pub level: i32,
    /// Version of tar writer and encoder.
    pub format: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    pub diff_id: DiffId,
    /// Blob of the (compressed) layer. With codec `none` it need not be stored: it can be made again from the snapshot.
    pub blob: Digest,
    pub size: u64,
    pub media_type: MediaType,
}

/// An image of the local store: a manifest blob, named or dangling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// `None`: dangling.
    pub reference: Option<Reference>,
    pub manifest: Digest,
    /// When the name was set.
    pub created: i64,
}

/// One record of what takes space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage { pub kind: UsageKind, pub id: String, pub size: u64, pub created: i64, pub last_used: i64, pub in_use: bool, pub shared: bool, pub description: String }
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageKind { Blob, Snapshot, CacheMount, Context, Log, Garbage }

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions { /** also cached results that an image does not need, and images without a name */ pub all: bool }
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport { pub deleted: Vec<Usage>, pub reclaimed: u64 }

impl Store {
    /// Opens or creates. `driver`: name of the snapshot driver and its xattr flavour, written into the format file at creation and
    /// returned by `driver()` afterwards (chosen by the caller through `probe` only when the directory is new).
    pub fn open(root: &Path, clock: Arc<dyn Clock>, probe: &dyn Fn(&Path) -> io::Result<String>) -> Result<Store> { todo!() }
    pub fn root(&self) -> &Path { todo!() }
    pub fn driver(&self) -> &str { todo!() }
    pub fn now(&self) -> i64 { todo!() }
    pub fn session(&self) -> Result<Arc<Session>> { todo!() }

    // --- blobs: blobs/sha256/<hex> ---
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> { todo!() }
    /// Opens a blob that the caller holds a lease of (or reaches from an image), `None` if it is not stored.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>> { todo!() }
    /// Whole blob, at most `limit` bytes.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> { todo!() }

    // --- snapshots: snapshots/<id>/ ---
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Option<SnapshotRow>> { todo!() }
    /// A row and all its parents, itself first; and leases the first, in one transaction. `None` when it is gone.
    pub fn acquire_snapshot(&self, session: &Session, id: &SnapshotId) -> Result<Option<Vec<SnapshotRow>>> { todo!() }
    /// Directory of a committed snapshot.
    pub fn snapshot_dir(&self, id: &SnapshotId) -> PathBuf { todo!() }
    /// Moves `staged` (a directory in the session's staging) to snapshots/<id> and inserts and leases the row: one atomic step.
    pub fn commit_snapshot(&self, session: &Session, row: &SnapshotRow, staged: &Path) -> Result<()> { todo!() }

    // --- chains: unpacked images, chain id -> snapshot ---
    pub fn acquire_chain(&self, session: &Session, chain: &ChainId) -> Result<Option<Vec<SnapshotRow>>> { todo!() }
    pub fn set_chain(&self, chain: &ChainId, snapshot: &SnapshotId) -> Result<()> { todo!() }

    // --- layers made from snapshots ---
    pub fn layer(&self, key: &LayerKey) -> Result<Option<LayerRow>> { todo!() }
    pub fn set_layer(&self, key: &LayerKey, row: &LayerRow) -> Result<()> { todo!() }
    /// A snapshot whose uncompressed layer has this digest (so that a blob that is not stored can be made again), with its key.
    pub fn layer_by_blob(&self, blob: &Digest) -> Result<Option<(LayerKey, LayerRow)>> { todo!() }
    /// A stored compressed blob whose diff id is this (base layers that were loaded), if known.
    pub fn set_diff_id(&self, blob: &Digest, diff_id: &DiffId) -> Result<()> { todo!() }

    // --- images ---
    /// Names a manifest; an image that loses its last name becomes dangling. Everything the manifest reaches (config and layer blobs,
    /// snapshots of its chain) must be leased by `session`; from then on the name keeps it.
    pub fn tag(&self, session: &Session, reference: Option<&Reference>, manifest: &Digest) -> Result<()> { todo!() }
    pub fn untag(&self, reference: &Reference) -> Result<bool> { todo!() }
    /// Removes all names of a manifest and the image itself.
    pub fn remove_image(&self, manifest: &Digest) -> Result<bool> { todo!() }
    pub fn images(&self) -> Result<Vec<ImageRow>> { todo!() }
    /// Leases the manifest and all it reaches in the same transaction.
    pub fn resolve(&self, session: &Session, reference: &Reference) -> Result<Option<ImageRow>> { todo!() }

    // --- cache records (the solver's Records trait is implemented on these, in `builder`) ---
    // links: (parent, input, output, op, selector) -> child; 32-byte ids; selector empty when none
    pub fn record_children(&self, links: &[RecordLink]) -> Result<Vec<[u8; 32]>> { todo!() }
    pub fn record_link(&self, child: &[u8; 32], links: &[RecordLink]) -> Result<()> { todo!() }
    pub fn record_results(&self, record: &[u8; 32]) -> Result<Vec<(String, i64)>> { todo!() }
    /// `snapshot`: what the result keeps alive as long as the cache keeps the record (None for none).
    pub fn record_save(&self, session: &Session, record: &[u8; 32], result: &str, snapshot: Option<&SnapshotId>, created: i64) -> Result<()> { todo!() }
    pub fn record_forget(&self, record: &[u8; 32], result: &str) -> Result<()> { todo!() }

    // --- digests of selections of immutable snapshots ---
    pub fn selection(&self, snapshot: &SnapshotId, selector: &[u8; 32]) -> Result<Option<[u8; 32]>> { todo!() }
    pub fn set_selection(&self, snapshot: &SnapshotId, selector: &[u8; 32], content: &[u8; 32]) -> Result<()> { todo!() }

    // --- small key-value rows with a namespace (URL validators …) ---
    pub fn get_value(&self, namespace: &str, key: &[u8]) -> Result<Option<Vec<u8>>> { todo!() }
    pub fn set_value(&self, namespace: &str, key: &[u8], value: &[u8]) -> Result<()> { todo!() }

    // --- files beside the database ---
    /// Where the digest memo of one context root is kept: contexts/<hash of the root path>.
    pub fn context_memo_path(&self, context_root: &Path) -> PathBuf { todo!() }
    /// logs/<name>: kept output of steps.
    pub fn log_path(&self, name: &str) -> PathBuf { todo!() }
    /// cache/<hash of id>: directory of one cache mount, made if needed.
    pub fn cache_mount_dir(&self, id: &str) -> Result<PathBuf> { todo!() }

    /// Blocks until the exclusive flock of locks/<name> is held (CLOEXEC); released by drop or death.
    pub fn lock(&self, name: &str) -> Result<KeyLock> { todo!() }
    /// `None` when another process or thread has it.
    pub fn try_lock(&self, name: &str) -> Result<Option<KeyLock>> { todo!() }

    // --- collection ---
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport> { todo!() }
    pub fn usage(&self) -> Result<Vec<Usage>> { todo!() }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLink { pub parent: [u8; 32], pub input: u32, pub output: u32, pub op: [u8; 32], pub selector: Option<[u8; 32]> }

pub struct KeyLock { _file: File }

impl Session {
    /// A new empty directory in this session's staging; on the same file system as blobs and snapshots.
    pub fn staging_dir(&self) -> Result<PathBuf> { todo!() }
    pub fn blob_writer(&self) -> Result<BlobWriter> { todo!() }
    /// Stores a small blob at once.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobStat> { todo!() }
    /// Leases what exists; false when it does not (any more).
    pub fn lease(&self, resource: &Resource) -> Result<bool> { todo!() }
    /// A fresh snapshot id.
    pub fn new_snapshot_id(&self) -> SnapshotId { todo!() }
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> { todo!() }
    fn flush(&mut self) -> io::Result<()> { todo!() }
}
impl BlobWriter {
    /// Verifies against `expected` if given; places and leases the blob.
    pub fn finish(self, expected: Option<&Digest>) -> Result<BlobStat> { todo!() }
}
