//! The demo: from a fresh machine to an image that is built, run, saved and loaded.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::{checked, shown};
use crate::{images, setup};

/// Prints each rbuild command as a user would type it.
pub(crate) fn run() -> Result<()> {
    setup::base()?;
    let project = setup::project();
    checked(Command::new("cargo").current_dir(&project).args(["build", "--release", "--package", "rbuild-cli"]))?;
    let rbuild = project.join("target/release/rbuild");
    let work = tempfile::tempdir()?;
    let state = work.path().join("state");
    eprintln!("\nrbuild is {}; RBUILD_ROOT={}", rbuild.display(), state.display());
    images::import(&rbuild, &state, true)?;
    let archive = work.path().join("hello.tar");
    let archive = archive.to_string_lossy().into_owned();
    let example = project.join("examples/hello");
    let example = example.to_string_lossy().into_owned();
    for words in [
        &["build", "--target", "app", "-t", "hello", &example][..],
        &["images"],
        &["run", "--rm", "hello"],
        &["save", "-o", &archive, "hello"],
        &["rmi", "hello"],
        &["load", "-i", &archive],
        &["run", "--rm", "hello", "hello", "again"],
    ] {
        shown(rbuild_command(&rbuild, &state).args(words))?;
    }
    eprintln!("\nthe demo is done");
    Ok(())
}

fn rbuild_command(rbuild: &Path, state: &Path) -> Command {
    let mut command = Command::new(rbuild);
    command.env("RBUILD_ROOT", state);
    command
}
