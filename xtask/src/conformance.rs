//! Runs a folder of Dockerfile cases against the release binary. The folder has `mkimages.py` and `run.py`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{checked, quiet};
use crate::setup::{all, cache_dir, project};

/// Makes the suite's images once, then runs it; `args` go to `run.py`.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Result<()> {
    all()?;
    if !dir.join("run.py").exists() {
        bail!("`{}` has no run.py", dir.display());
    }
    checked(Command::new("cargo").current_dir(project()).args(["build", "--release", "--package", "rbuild-cli"]))?;
    let images = cache_dir()?.join("conformance-images");
    if !images.join("debian/index.json").exists() {
        make_images(dir, &images)?;
    }
    let state = tempfile::tempdir()?;
    let mut python = Command::new("python3");
    python.arg(dir.join("run.py")).args(["--driver", "rbuild"]);
    python.arg("--rbuild").arg(project().join("target/release/rbuild"));
    python.arg("--rbuild-args").arg(format!("--root {}", state.path().display()));
    python.arg("--images").arg(&images).args(args);
    checked(&mut python)
}

fn make_images(dir: &Path, images: &Path) -> Result<()> {
    let tars = crate::images::root_file_systems()?;
    let tree = tempfile::tempdir()?;
    quiet(Command::new("tar").arg("-xf").arg(&tars.debian).arg("-C").arg(tree.path()))?;
    let mut python = Command::new("python3");
    python.arg(dir.join("mkimages.py")).arg(images).args(["busybox", "alpine", "debian"]);
    quiet(python.env("DEBIAN_ROOTFS", tree.path()))?;
    Ok(())
}
