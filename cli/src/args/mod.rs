//! The command line as typed. What it means is decided later, by the module of each command.

mod build;
mod image;
mod run;

pub(crate) use build::BuildArgs;
pub(crate) use image::{
    DiskUsageArgs, HistoryArgs, ImportArgs, InspectArgs, ListArgs, LoadArgs, PruneArgs, RemoveArgs, SaveArgs, TagArgs,
};
pub(crate) use run::RunArgs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Builds and runs container images, without a daemon.
#[derive(Debug, Parser)]
#[command(name = "rbuild", version, about, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// State directory [env: RBUILD_ROOT; default: /var/lib/rbuild for root, else ~/.local/share/rbuild]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Say more about what happens, on standard error
    #[arg(long, global = true)]
    pub(crate) debug: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Run a command in a new container
    Run(Box<RunArgs>),
    /// List images
    Images(ListArgs),
    /// Remove images
    Rmi(RemoveArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Show the history of an image
    History(HistoryArgs),
    /// Show everything that is known of images, as JSON
    Inspect(InspectArgs),
    /// Save images to a docker archive
    Save(SaveArgs),
    /// Load images from an archive
    Load(LoadArgs),
    /// Make an image from a root file system
    Import(ImportArgs),
    /// Remove what nothing needs
    Prune(PruneArgs),
    /// Show what takes space
    Du(DiskUsageArgs),
    /// Work with images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Work with the state directory
    #[command(subcommand)]
    System(SystemCommand),
    /// Make the state directory's rows survive a power cut (started by other commands)
    #[command(hide = true, name = "internal-sync")]
    Sync,
}

/// Commands on images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// List images
    #[command(alias = "list")]
    Ls(ListArgs),
    /// Remove images
    #[command(alias = "remove")]
    Rm(RemoveArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Show the history of an image
    History(HistoryArgs),
    /// Show everything that is known of images, as JSON
    Inspect(InspectArgs),
    /// Save images to a docker archive
    Save(SaveArgs),
    /// Load images from an archive
    Load(LoadArgs),
    /// Make an image from a root file system
    Import(ImportArgs),
}

/// Commands on the state directory.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes space
    Df(DiskUsageArgs),
    /// Remove what nothing needs
    Prune(PruneArgs),
}

/// A flag as docker has it: `--flag`, `--flag=true`, `--flag=false`, in Go's spellings.
pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_flag_is_explained() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        let mut missing = Vec::new();
        check_help(&command, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
        let bare = clap::Command::new("bare").arg(clap::Arg::new("flag").long("flag"));
        check_help(&bare, &mut missing);
        assert_eq!(missing, ["bare --flag"], "a flag without help is found");
    }

    fn check_help(command: &clap::Command, missing: &mut Vec<String>) {
        for arg in command.get_arguments() {
            if arg.get_help().is_none_or(|help| help.to_string().trim().is_empty()) {
                missing.push(format!("{} --{}", command.get_name(), arg.get_id()));
            }
        }
        for sub in command.get_subcommands() {
            check_help(sub, missing);
        }
    }

    fn parse(words: &[&str]) -> Arguments {
        Arguments::try_parse_from(words).unwrap()
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for words in [["rbuild", "--root", "/r", "images"], ["rbuild", "images", "--root", "/r"]] {
            assert_eq!(parse(&words).global.root, Some(PathBuf::from("/r")));
        }
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_container() {
        let Command::Run(run) = parse(&["rbuild", "run", "-it", "--rm", "-e", "A=1", "busybox", "ls", "-e", "--debug"]).command
        else {
            panic!("run")
        };
        assert!(run.interactive && run.tty && run.rm);
        let Command::Run(named) = parse(&["rbuild", "run", "-h", "box", "busybox"]).command else { panic!("run") };
        assert_eq!(named.hostname.as_deref(), Some("box"), "as docker's, not help");
        assert_eq!(run.image, "busybox");
        assert_eq!(run.command, ["ls", "-e", "--debug"]);
    }

    #[test]
    fn switches_take_gos_values() {
        for (words, expected) in [
            (&["rbuild", "build", "--pull", "."][..], true),
            (&["rbuild", "build", "--pull=false", "."], false),
            (&["rbuild", "build", "--pull=1", "."], true),
            (&["rbuild", "build", "."], false),
        ] {
            let Command::Build(build) = parse(words).command else { panic!("build") };
            assert_eq!((build.pull, build.context.as_str()), (expected, "."), "{words:?}");
        }
        assert!(Arguments::try_parse_from(["rbuild", "build", "--pull=maybe", "."]).is_err());
    }
}
