//! `rbuild build` as typed.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::go_bool;

/// Flags of `build`; names, defaults and grammar are docker's.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag as typed")]
pub(crate) struct BuildArgs {
    /// Directory with the files to build from, or `-` for a tar or a Dockerfile on standard input
    #[arg(value_name = "CONTEXT")]
    pub(crate) context: String,
    /// Dockerfile, or `-` for standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) file: Option<String>,
    /// Name of the image (repeatable)
    #[arg(short, long, value_name = "NAME[:TAG]")]
    pub(crate) tag: Vec<String>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Value of an ARG; without a value it is taken from the environment (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// Label of the image (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// Execute every step again
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = go_bool, action = ArgAction::Set)]
    pub(crate) no_cache: bool,
    /// Execute the steps of these stages again (repeatable, or separated by commas)
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// Look for newer versions of the images that are used
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = go_bool, action = ArgAction::Set)]
    pub(crate) pull: bool,
    /// Show nothing but the image's id, on standard output
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = go_bool, action = ArgAction::Set)]
    pub(crate) quiet: bool,
    /// How progress is shown: auto, plain, tty, rawjson, quiet or none [env: BUILDKIT_PROGRESS; default: auto]
    #[arg(long, value_name = "KIND")]
    pub(crate) progress: Option<String>,
    /// Write the image's id (the digest of its configuration) to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write what is known of the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Where the result goes: type=oci|docker|local|tar|image|cacheonly[,dest=PATH][,name=NAME][,tar=false][,compression=gzip|zstd|uncompressed][,compression-level=N][,force-compression=true][,oci-mediatypes=false], or a directory, or `-` for a tar on standard output (repeatable) [default: the local image store]
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Vec<String>,
    /// Put the image into the local store, also beside other outputs
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = go_bool, action = ArgAction::Set)]
    pub(crate) load: bool,
    /// Push the image (not supported yet)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = go_bool, action = ArgAction::Set)]
    pub(crate) push: bool,
    /// Network of RUN: default, host or none
    #[arg(long, value_name = "MODE", default_value = "default")]
    pub(crate) network: String,
    /// Line of /etc/hosts (repeatable)
    #[arg(long, value_name = "HOST:IP")]
    pub(crate) add_host: Vec<String>,
    /// Further context: a directory, oci-layout://DIR[:TAG|@DIGEST] or docker-image://REFERENCE (repeatable)
    #[arg(long, value_name = "NAME=CONTEXT")]
    pub(crate) build_context: Vec<String>,
    /// Platform of the image; RUN works on this machine's only
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Vec<String>,
    /// Size of /dev/shm in RUN
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,
    /// Resource limit in RUN (repeatable)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// What RUN may ask for: network.host, security.insecure (repeatable)
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// Secret for RUN --mount=type=secret: `id=ID,src=FILE` or `id=ID,env=NAME` (repeatable)
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<String>,
    /// SSH agent for RUN --mount=type=ssh (not supported yet)
    #[arg(long, value_name = "AGENT")]
    pub(crate) ssh: Vec<String>,
    /// Read a cache from elsewhere (not supported yet)
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_from: Vec<String>,
    /// Write the cache to elsewhere (not supported yet)
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_to: Vec<String>,
    /// Provenance attestation: `false`; others are not supported yet
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) provenance: Option<String>,
    /// SBOM attestation: `false`; others are not supported yet
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) sbom: Option<String>,
    /// Hash every file of the context, even where its times say that it did not change
    #[arg(long)]
    pub(crate) paranoid: bool,
    /// Bytes of each step's output that are kept on disk, or `unlimited`
    #[arg(long, value_name = "BYTES", default_value = "64m")]
    pub(crate) log_limit: String,
    /// Most RUN steps at once; 0 chooses by the number of processors
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) jobs: usize,
}
