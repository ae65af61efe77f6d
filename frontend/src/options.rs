//! What goes into lowering and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rbuild_graph::{Edge, ExtraHost, Graph, NetworkMode, Ulimit};
use rbuild_oci::{Digest, History, ImageConfig, Platform};

use crate::Diagnostic;

/// What the command line says about the build.
#[derive(Clone, Debug)]
pub struct Options {
    /// The stage to build, by name; `None` is the last.
    pub target: Option<String>,
    /// `--build-arg`, by name.
    pub build_args: BTreeMap<String, String>,
    /// `--label`: set last, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// Of the host, as BUILDPLATFORM.
    pub build_platform: Platform,
    /// What the image is for.
    pub target_platform: Platform,
    /// Whether --platform was given (spec G-27).
    pub platform_given: bool,
    /// Which steps pass over the cache.
    pub no_cache: NoCache,
    /// RUN's network where the instruction does not choose one.
    pub network: Option<NetworkMode>,
    /// Whether `RUN --security=insecure` is allowed.
    pub allow_insecure: bool,
    /// Whether the host's network is allowed.
    pub allow_host_network: bool,
    /// Lines for RUN's `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// Resource limits of RUN.
    pub ulimits: Vec<Ulimit>,
    /// Size of RUN's `/dev/shm`, bytes.
    pub shm_size: Option<u64>,
    /// Named contexts (`--build-context`), by name as given.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// SOURCE_DATE_EPOCH, seconds, when set by build-arg.
    pub epoch: Option<i64>,
    /// Names of the secrets that were offered.
    pub secrets: BTreeSet<String>,
    /// Names of the ssh agents that were offered.
    pub ssh: BTreeSet<String>,
}

/// Which steps pass over the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    No,
    /// Those of every stage.
    All,
    /// Those of these stages, lower case.
    Stages(Vec<String>),
}

/// What a named context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// Files, served by the worker under LocalSource.name = the context's name.
    Local,
    /// An image: to be resolved under this need.
    Image(ImageNeed),
}

/// An image that must be resolved before lowering can go on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageNeed {
    /// Which image.
    pub reference: ImageSpec,
    /// For which platform.
    pub platform: Platform,
}

/// How an image is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSpec {
    /// As written in FROM or COPY --from, variables expanded.
    Reference(String),
    /// A named context that is an OCI layout: the context's name.
    Layout(String),
}

/// What resolving found.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// Digest of the manifest for the platform.
    pub manifest: Digest,
    /// Its configuration.
    pub config: ImageConfig,
}

/// All that is resolved so far.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// By what was asked for.
    pub images: BTreeMap<ImageNeed, ResolvedImage>,
}

/// What lowering came to.
#[derive(Clone, Debug)]
pub enum Lowering {
    /// Resolve these and call again with all that is resolved so far. With each, the bytes of the Dockerfile that ask for it first.
    Needs(BTreeMap<ImageNeed, Range<usize>>),
    /// The end.
    Done(Box<Lowered>),
}

/// The target stage as a graph and an image configuration.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What is to be done.
    pub graph: Graph,
    /// `None`: the empty file system.
    pub result: Option<Edge>,
    /// Complete but for rootfs, history and created, which the exporter fills in.
    pub config: ImageConfig,
    /// The base image's history comes first, untouched; `layer` is set where the entry made a layer in this build.
    pub history: Vec<HistoryStep>,
    /// The image that the target stage goes back to.
    pub base: Option<BaseImage>,
    /// What could be better in the Dockerfile.
    pub warnings: Vec<Diagnostic>,
    /// SOURCE_DATE_EPOCH, seconds.
    pub epoch: Option<i64>,
}

/// The image that a stage goes back to; its layers and history are the first of the result.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Its configuration as it was resolved.
    pub config: ImageConfig,
    /// Its name as it was written.
    pub reference: String,
}

/// One entry of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryStep {
    /// The entry.
    pub entry: History,
    /// The edge whose snapshot is this entry's layer.
    pub layer: Option<Edge>,
}
