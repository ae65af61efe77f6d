//! What a build is asked for, and what it gives.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rbuild_exporter::{Destination, LayerOptions, StoredImage};
use rbuild_frontend::{Diagnostic, Options, Source};
use rbuild_oci::{Digest, Reference};

/// What is built. The Dockerfile is text already; the cli reads files, standard input and the environment.
pub struct BuildRequest {
    /// The Dockerfile.
    pub dockerfile: Source,
    /// Everything for the frontend; its `named_contexts` is filled from `named_contexts` below.
    pub options: Options,
    /// The main context.
    pub context: Context,
    /// `--build-context`, by name as given.
    pub named_contexts: BTreeMap<String, ContextSource>,
    /// What is made of the result; none means the local image store.
    pub outputs: Vec<OutputSpec>,
    /// Names for outputs that have none of their own.
    pub tags: Vec<Reference>,
    /// Whether base images are looked up in registries although they are stored. Until there is a registry client, this is warned of.
    pub pull: bool,
    /// Most RUN steps at once; 0 counts as 1.
    pub parallelism: usize,
    /// Bytes of a step's output kept on disk; `None` is unlimited.
    pub log_budget: Option<u64>,
    /// Hash the contents of all files of the contexts, whatever was noted of them earlier.
    pub paranoid: bool,
    /// Values of secrets by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// The main context.
pub enum Context {
    /// A directory, read in place.
    Directory {
        /// Which.
        path: PathBuf,
        /// Text and name of the ignore file that applies.
        ignore: Option<(String, String)>,
    },
    /// No files.
    Empty,
}

/// What a named context stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory, read in place; its own `.dockerignore` applies.
    Directory(PathBuf),
    /// An image in an OCI layout directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// Which image, by tag.
        tag: Option<String>,
        /// Which image, by digest.
        digest: Option<Digest>,
    },
    /// `docker-image://`: an image by its name.
    Image(String),
}

/// One `--output`, as meant.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// What is written, and where.
    pub kind: OutputKind,
    /// Names of the image; none means the tags of the build.
    pub names: Vec<Reference>,
    /// How its layers are made.
    pub layer: LayerOptions,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Kinds of outputs.
#[derive(Clone, Debug)]
pub enum OutputKind {
    /// The local image store (`--load`, or no output at all).
    Store,
    /// An OCI archive or layout.
    Oci(Destination),
    /// The same, readable by `docker load`.
    Docker(Destination),
    /// The files of the result, in this directory.
    Local(PathBuf),
    /// The files of the result as a tar.
    Tar(Destination),
    /// Nothing but the cache.
    CacheOnly,
}

/// What a build gives.
#[derive(Debug)]
pub struct BuildResult {
    /// The image, where one was made: that of the local store if there is one, else that of the first output.
    pub image: Option<StoredImage>,
    /// What could be better in the Dockerfile.
    pub warnings: Vec<Diagnostic>,
}
