//! Independent programs that read and write the same formats.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Outcome, Tree, tree_of};

/// Unpacks an archive with skopeo and umoci, as root, and reads the tree. `transport` is `oci-archive` or `docker-archive`.
///
/// # Panics
/// When a peer refuses the archive.
#[must_use]
#[track_caller]
pub fn unpack_archive(transport: &str, archive: &Path, skip: &[&str]) -> Tree {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let layout = dir.path().join("layout");
    let from = format!("{transport}:{}", archive.display());
    check(Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet", &from, &format!("oci:{}:x", layout.display())]));
    let bundle = dir.path().join("bundle");
    check(Command::new("umoci").args(["unpack", "--image", &format!("{}:x", layout.display())]).arg(&bundle));
    tree_of(&bundle.join("rootfs"), skip)
}

/// Debian's buildah with storage of its own, `busybox` imported from the same tar.
pub struct Buildah {
    dir: TempDir,
}

impl Buildah {
    /// Fresh storage.
    ///
    /// # Panics
    /// When buildah fails.
    #[must_use]
    pub fn new() -> Buildah {
        let buildah = Buildah { dir: tempfile::tempdir().expect("a temporary directory") };
        let busybox = PathBuf::from(std::env::var_os("RBUILD_TEST_BUSYBOX").expect("run the tests with `cargo xtask test`"));
        let container = check(&mut buildah.command(&["from", "scratch"])).stdout;
        let container = container.trim();
        check(buildah.command(&["add", "--quiet", container]).arg(&busybox).arg("/"));
        check(&mut buildah.command(&["config", "--cmd", "sh", container]));
        check(&mut buildah.command(&["commit", "--quiet", container, "docker.io/library/busybox:latest"]));
        check(&mut buildah.command(&["rm", container]));
        buildah
    }

    /// A command on this storage; runc, because crun 1.8 refuses hybrid cgroups.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.env("BUILDAH_RUNTIME", "runc").env("BUILDAH_ISOLATION", "oci");
        command.arg("--root").arg(self.dir.path().join("root")).arg("--runroot").arg(self.dir.path().join("run")).args(args);
        command
    }

    /// Builds into an OCI archive.
    ///
    /// # Panics
    /// When buildah refuses the Dockerfile.
    #[track_caller]
    pub fn build_oci(&self, context: &Path, archive: &Path, args: &[&str]) {
        let mut command = self.command(&["bud", "--quiet", "--pull-never", "--layers=false", "-t", "localhost/built"]);
        check(command.args(args).arg(context));
        check(self.command(&["push", "--quiet", "localhost/built"]).arg(format!("oci-archive:{}", archive.display())));
    }
}

impl Default for Buildah {
    fn default() -> Buildah {
        Buildah::new()
    }
}

/// Runs a peer that must succeed.
#[track_caller]
pub(crate) fn check(command: &mut Command) -> Outcome {
    let outcome = Outcome::of(command.output().expect("the peer starts"));
    assert_eq!(outcome.code, 0, "{command:?}:\n{}{}", outcome.stdout, outcome.stderr);
    outcome
}
