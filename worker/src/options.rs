//! What a worker is given by the build that it serves, and what it hands back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rbuild_executor::Executor;
use rbuild_fs::ignore::Line;
use rbuild_oci::{Descriptor, DiffId, Digest, Reference};
use rbuild_snapshotter::{Snapshot, Snapshotter};

/// Everything a worker needs from the build that it serves.
pub struct WorkerOptions {
    /// Where file-system states live.
    pub snapshotter: Snapshotter,
    /// Starts sandboxes.
    pub executor: Executor,
    /// Local directories by `LocalSource::name`.
    pub contexts: BTreeMap<String, Arc<LocalContext>>,
    /// Images of this build by manifest digest.
    pub images: BTreeMap<Digest, ImageHandle>,
    /// Most RUN steps at once; 0 counts as 1.
    pub parallelism: usize,
    /// Bytes of a step's output kept on disk; `None` is unlimited.
    pub log_budget: Option<u64>,
    /// Always hash file contents, whatever the memo of an earlier build says.
    pub paranoid: bool,
    /// For `ADD` of URLs.
    pub http: rbuild_http::Client,
    /// Values of the secrets that the client offers, by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// A context directory with its ignore rules; read in place.
pub struct LocalContext {
    /// The directory.
    pub root: PathBuf,
    /// Lines of the ignore file that applies.
    pub ignore: Vec<Line>,
    /// Its name as shown in messages: `.dockerignore` or `app.Dockerfile.dockerignore`.
    pub ignore_name: String,
}

/// Where an image's layers come from; unpacked only when a step needs the files.
#[derive(Clone, Debug)]
pub struct ImageHandle {
    /// Digest of the manifest, for one platform.
    pub manifest: Digest,
    /// The layers' diff ids, base first.
    pub diff_ids: Vec<DiffId>,
    /// Their blobs, in the same order.
    pub layers: Vec<Descriptor>,
    /// Where the blobs are.
    pub origin: ImageOrigin,
    /// The name it was found under, for messages.
    pub reference: Option<Reference>,
}

/// Where an image's blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageOrigin {
    /// In the store, or made again from its snapshots.
    Store,
    /// In an OCI layout directory.
    Layout(PathBuf),
}

/// Handle of one output. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Output {
    /// The empty file system.
    Scratch,
    /// A committed state.
    Snapshot(Snapshot),
    /// A context, read in place, by its name.
    Local(String),
    /// An image that may not be unpacked yet.
    Image(Arc<ImageHandle>),
    /// One downloaded file.
    File(FileOutput),
}

/// One file in the root directory of an otherwise empty file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOutput {
    /// Its content, a blob of the store.
    pub blob: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its name.
    pub name: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
}
