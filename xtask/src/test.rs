//! Every check and every test: format, lints, unit tests, tests of the whole with real peers.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::checked;
use crate::{images, setup};

/// Runs all, or the tests whose name has the filter.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    setup::all()?;
    let tars = images::root_file_systems()?;
    let project = setup::project();
    let cargo = |words: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(&project).args(words);
        command
    };
    if args.is_empty() {
        checked(&mut cargo(&["fmt", "--all", "--check"]))?;
        checked(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]))?;
    }
    checked(&mut cargo(&["build", "--package", "rbuild-cli"]))?;
    let skips = tempfile::NamedTempFile::new()?;
    let mut test = cargo(&["test", "--workspace", "--no-fail-fast", "--"]);
    test.args(args).env("RBUILD_TEST_BIN", project.join("target/debug/rbuild"));
    test.env("RBUILD_TEST_BUSYBOX", &tars.busybox).env("RBUILD_TEST_DEBIAN", &tars.debian).env("RBUILD_TEST_SKIPS", skips.path());
    checked(&mut test)?;
    if args.is_empty() {
        eprintln!("the crates with parallel code again, on one thread");
        let mut single = cargo(&[
            "test",
            "--quiet",
            "-p",
            "rbuild-fs",
            "-p",
            "rbuild-snapshotter",
            "-p",
            "rbuild-exporter",
            "-p",
            "rbuild-worker",
        ]);
        checked(single.env("RAYON_NUM_THREADS", "1").env("RBUILD_TEST_SKIPS", skips.path()))?;
    }
    report_skips(&fs_err::read_to_string(skips.path())?)
}

/// Skipped tests are counted and named; on a machine that has everything (root on Debian) none may be.
fn report_skips(skips: &str) -> Result<()> {
    let count = skips.lines().count();
    eprintln!("{count} tests were skipped");
    skips.lines().for_each(|skip| eprintln!("  {skip}"));
    if count > 0 && rustix::process::geteuid().is_root() && std::env::var_os("CI").is_some() {
        bail!("no test may be skipped here");
    }
    Ok(())
}
