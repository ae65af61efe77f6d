//! Dockerfile text to graph: parsing, expansion, lowering. Touches no disk and no network.
//!
//! SEAM: signatures agreed on; bodies and the split into files are the frontend's own work.
#![allow(missing_docs, clippy::todo, unused_variables, reason = "seam")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rbuild_graph::{Edge, ExtraHost, Graph, NetworkMode, Ulimit};
use rbuild_oci::{Digest, History, ImageConfig, Platform};

/// A Dockerfile's text with the name shown in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source { pub name: String, pub text: String }

/// A parsed file (all it could understand) and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Dockerfile { pub source: Source, /* directives, instructions with spans: the frontend's own */ }

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity { Warning, Error }

/// One message about the file. `code` is stable (`unknown-instruction`, or a lint rule's name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    /// Byte range in the source; `None` for the file as a whole.
    pub span: Option<Range<usize>>,
    /// What to do about it, did-you-mean included.
    pub hint: Option<String>,
}

/// Parses; never stops at the first mistake.
pub fn parse(source: Source) -> (Dockerfile, Vec<Diagnostic>) { todo!() }
/// Renders like rustc (annotate-snippets): file, line, column, excerpt, caret, hint.
pub fn render(source: &Source, diagnostics: &[Diagnostic], color: bool) -> String { todo!() }
/// First and last line (from 1) of a span.
pub fn lines(source: &Source, span: &Range<usize>) -> (u32, u32) { todo!() }

/// What the command line says about the build.
#[derive(Clone, Debug)]
pub struct Options {
    pub target: Option<String>,
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Of the host, as BUILDPLATFORM.
    pub build_platform: Platform,
    pub target_platform: Platform,
    /// Whether --platform was given (spec G-27).
    pub platform_given: bool,
    pub no_cache: NoCache,
    /// Forces RUN's network.
    pub network: Option<NetworkMode>,
    pub allow_insecure: bool,
    pub allow_host_network: bool,
    pub extra_hosts: Vec<ExtraHost>,
    pub ulimits: Vec<Ulimit>,
    pub shm_size: Option<u64>,
    /// Named contexts (`--build-context`), by name as given.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// SOURCE_DATE_EPOCH, seconds, when set by build-arg.
    pub epoch: Option<i64>,
    /// Names of the secrets and ssh agents that were offered.
    pub secrets: BTreeSet<String>,
    pub ssh: BTreeSet<String>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCache { No, All, /** these stages, lower case */ Stages(Vec<String>) }
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext { /** files, served by the worker under LocalSource.name = the context's name */ Local, /** an image: to be resolved under this need */ Image(ImageNeed) }

/// An image that must be resolved before lowering can go on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageNeed { pub reference: ImageSpec, pub platform: Platform }
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSpec { /** as written in FROM or COPY --from, variables expanded */ Reference(String), /** a named context that is an OCI layout: the context's name */ Layout(String) }

/// What resolving found.
#[derive(Clone, Debug)]
pub struct ResolvedImage { pub manifest: Digest, pub config: ImageConfig }
#[derive(Clone, Debug, Default)]
pub struct Resolved { pub images: BTreeMap<ImageNeed, ResolvedImage> }

pub enum Lowering { /** resolve these and call again with all that is resolved so far */ Needs(BTreeSet<ImageNeed>), Done(Box<Lowered>) }

/// The target stage as a graph and an image configuration.
#[derive(Clone, Debug)]
pub struct Lowered {
    pub graph: Graph,
    /// `None`: the empty file system.
    pub result: Option<Edge>,
    /// Complete but for rootfs, history and created, which the exporter fills in.
    pub config: ImageConfig,
    /// The base image's history comes first, untouched; `layer` is set where the entry made a layer in this build.
    pub history: Vec<HistoryStep>,
    /// Number of base layers (diff ids of the base image's config), and the base's manifest.
    pub base: Option<BaseImage>,
    pub warnings: Vec<Diagnostic>,
    pub epoch: Option<i64>,
}
#[derive(Clone, Debug)]
pub struct BaseImage { pub manifest: Digest, pub config: ImageConfig, pub reference: String }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryStep { pub entry: History, /** the edge whose snapshot is this entry's layer */ pub layer: Option<Edge> }

/// Lowers the target stage and what it needs. Errors are complete: as many as can be found in one go.
pub fn lower(file: &Dockerfile, options: &Options, resolved: &Resolved) -> Result<Lowering, Vec<Diagnostic>> { todo!() }
