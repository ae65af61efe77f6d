//! Base images, made offline from Debian's packages: root file systems that `rbuild import` turns into images.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{quiet, shown};
use crate::setup::{as_root, cache_dir};

/// Root file systems, ready to import.
pub(crate) struct RootFileSystems {
    /// A tar of busybox with every applet.
    pub(crate) busybox: PathBuf,
    /// A tar of Debian's minbase.
    pub(crate) debian: PathBuf,
}

/// Makes what is not cached yet.
pub(crate) fn root_file_systems() -> Result<RootFileSystems> {
    let cache = cache_dir()?;
    let found = RootFileSystems { busybox: cache.join("busybox-1.tar"), debian: cache.join("debian-bookworm-1.tar") };
    if !found.busybox.exists() {
        make(&found.busybox, busybox)?;
    }
    if !found.debian.exists() {
        make(&found.debian, debian)?;
    }
    Ok(found)
}

/// Imports both into a state directory, as a user would.
pub(crate) fn import(rbuild: &Path, root: &Path, show: bool) -> Result<()> {
    let tars = root_file_systems()?;
    for (tar, name, cmd) in [(&tars.busybox, "busybox", r#"CMD ["sh"]"#), (&tars.debian, "debian", r#"CMD ["bash"]"#)] {
        let mut import = Command::new(rbuild);
        import.arg("--root").arg(root).args(["import", "-c", cmd]).arg(tar).arg(name);
        if show {
            shown(&mut import)?;
        } else {
            quiet(&mut import)?;
        }
    }
    Ok(())
}

fn make(tar: &Path, fill: fn(&Path) -> Result<()>) -> Result<()> {
    let partial = tar.with_extension("partial");
    fill(&partial).with_context(|| format!("making {}", tar.display()))?;
    fs_err::rename(&partial, tar)?;
    Ok(())
}

fn debian(tar: &Path) -> Result<()> {
    eprintln!("making a minimal Debian root file system");
    let mut words = vec!["mmdebstrap", "--variant=minbase", "--quiet", "--format=tar", "bookworm"];
    let path = tar.to_string_lossy();
    words.push(&path);
    quiet(&mut as_root(&words))?;
    Ok(())
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
";
const GROUP: &str = "\
root:x:0:
daemon:x:1:
bin:x:2:
adm:x:4:
tty:x:5:
disk:x:6:
wheel:x:10:root
www-data:x:33:
staff:x:50:
users:x:100:
nobody:x:65534:
";

fn busybox(tar: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = dir.path();
    fs_err::set_permissions(root, std::fs::Permissions::from_mode(0o755))?;
    for (name, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("usr/bin", 0o755),
        ("var/www", 0o755),
    ] {
        fs_err::create_dir_all(root.join(name))?;
        fs_err::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode))?;
    }
    let program = root.join("bin/busybox");
    fs_err::copy("/bin/busybox", &program)?;
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let applets = quiet(Command::new(&program).arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        fs_err::hard_link(&program, root.join("bin").join(applet))?;
    }
    symlink("../../bin/env", root.join("usr/bin/env"))?;
    fs_err::write(root.join("etc/passwd"), PASSWD)?;
    fs_err::write(root.join("etc/group"), GROUP)?;
    fs_err::write(root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
    if rustix::process::geteuid().is_root() {
        chown(root.join("var/www"), Some(33), Some(33))?;
    }
    let path = tar.to_string_lossy().into_owned();
    let dir = root.to_string_lossy().into_owned();
    quiet(Command::new("tar").args([
        "--sort=name",
        "--mtime=@1700000000",
        "--numeric-owner",
        "--owner=+0",
        "--group=+0",
        "-cf",
        &path,
        "-C",
        &dir,
        ".",
    ]))?;
    Ok(())
}
