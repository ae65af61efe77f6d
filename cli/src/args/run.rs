//! `rbuild run` as typed.

use clap::{ArgAction, Args};

use super::go_bool;

/// Flags of `run`; names, defaults and grammar are docker's.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag as typed")]
#[command(disable_help_flag = true)]
#[command(after_help = "Containers are not kept: what one changes is gone when it ends, with or without --rm.")]
pub(crate) struct RunArgs {
    /// Pass standard input to the command
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it ends (always so for now)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = go_bool, action = ArgAction::Set)]
    pub(crate) rm: bool,
    /// Run in the background (not supported yet)
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Name of the container; no other running one may have it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Environment variable; without a value it is taken from the environment (repeatable)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// File of environment variables, one a line (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User, and group if given, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Program to run instead of the image's ENTRYPOINT; empty for none
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Mount a directory or file of the host (repeatable)
    #[arg(short, long, value_name = "HOST:CONTAINER[:ro]")]
    pub(crate) volume: Vec<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Mount a file system in memory (repeatable)
    #[arg(long, value_name = "DIR[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Host name in the container
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Network: host or none
    #[arg(long, value_name = "MODE", default_value = "host")]
    pub(crate) network: String,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The image, by name or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}
