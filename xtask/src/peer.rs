//! Debian's buildah, as it must be called on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::quiet;

/// Buildah with its own storage.
pub(crate) struct Buildah {
    dir: PathBuf,
}

impl Buildah {
    /// Storage beneath `dir`, with `busybox` made from the same root file system that rbuild imports.
    pub(crate) fn new(dir: &Path, busybox_tar: &Path) -> Result<Buildah> {
        let buildah = Buildah { dir: dir.to_owned() };
        let container = quiet(buildah.command().args(["from", "scratch"]))?;
        let container = container.trim();
        quiet(buildah.command().args(["add", "--quiet", container]).arg(busybox_tar).arg("/"))?;
        quiet(buildah.command().args(["config", "--cmd", "sh", container]))?;
        quiet(buildah.command().args(["commit", "--quiet", container, "docker.io/library/busybox:latest"]))?;
        quiet(buildah.command().args(["rm", container]))?;
        Ok(buildah)
    }

    /// A buildah command on this storage; runc, because crun refuses hybrid cgroups.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("buildah");
        command.env("BUILDAH_RUNTIME", "runc").env("BUILDAH_ISOLATION", "oci");
        command.arg("--root").arg(self.dir.join("root")).arg("--runroot").arg(self.dir.join("run"));
        command
    }

    /// Forgets every image but the base, so that the next build is cold.
    pub(crate) fn forget(&self) -> Result<()> {
        let list = quiet(self.command().args(["images", "--all", "--format", "{{.ID}} {{.Name}}"]))?;
        let ids: Vec<&str> =
            list.lines().filter(|line| !line.ends_with("/busybox")).filter_map(|line| line.split(' ').next()).collect();
        if !ids.is_empty() {
            quiet(self.command().args(["rmi", "--force"]).args(ids))?;
        }
        Ok(())
    }
}
