//! The commands on stored images, as typed.

use std::path::PathBuf;

use clap::Args;

/// Flags of `images`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag as typed")]
pub(crate) struct ListArgs {
    /// Only this repository, or this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
    /// Show all images; none is hidden without it
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// `table`, or `json` for one object a line
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// Flags of `rmi`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Images, by name or id
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    /// Remove an image by id although it has several names, and pass over images that are not there
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Flags of `tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The image, by name or id
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Its new name
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
}

/// Flags of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The image, by name or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Show whole instructions
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Show ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// `table`, or `json` for one object a line
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// Flags of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Images, by name or id
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    /// `json`; Go templates are not supported yet
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// Flags of `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Images, by name or id
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Flags of `load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Archive (docker or OCI, possibly compressed) or OCI layout directory [default: standard input]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) input: Option<PathBuf>,
    /// Show nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Flags of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A tar (possibly compressed) of a root file system, a directory, or `-` for a tar on standard input
    #[arg(value_name = "FILE|DIR|-")]
    pub(crate) source: String,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,
    /// Dockerfile instruction for the image's configuration (repeatable)
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
}

/// Flags of `prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Also remove every cached result that no named image needs
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask (only a terminal is asked)
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Flags of `du`.
#[derive(Debug, Args)]
pub(crate) struct DiskUsageArgs {
    /// Show each thing
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
