//! Finding out which driver works on a directory, by trying.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rbuild_fs::{Stat, place};
use rustix::fs::AtFlags;

use crate::overlay_mount::OverlayMount;
use crate::xattrs::{self, Flavour};
use crate::{DriverChoice, at};

/// Whoever probes at the same time takes another name; this many are tried.
const NAMES: u32 = 1000;

pub(crate) fn probe(root: &Path, choice: DriverChoice) -> io::Result<&'static str> {
    if choice == DriverChoice::Copy {
        return Ok("copy");
    }
    let trusted = match try_overlay(root, Flavour::Trusted) {
        Ok(()) => return Ok("overlay"),
        Err(error) => error,
    };
    match try_overlay(root, Flavour::User) {
        Ok(()) => Ok("overlay-userxattr"),
        Err(_) if choice == DriverChoice::Overlay => Err(trusted),
        Err(error) => {
            tracing::debug!(%trusted, user = %error, "overlay does not work here");
            Ok("copy")
        }
    }
}

/// A mount with an upper directory on that file system, a deletion, and a directory that hides another.
fn try_overlay(root: &Path, flavour: Flavour) -> io::Result<()> {
    let scratch = Scratch::create(root)?;
    let path = |name: &str| scratch.path.join(name);
    for name in ["one", "one/dir", "two", "upper", "work"] {
        fs_err::create_dir(path(name))?;
    }
    fs_err::write(path("one/file"), b"")?;
    let lower = [path("one"), path("two")];
    let (upper, work) = (path("upper"), path("work"));
    let mount = OverlayMount { flavour, lower: &lower, upper: Some((&upper, &work)) }.mount().map_err(io::Error::other)?;
    exercise(mount.as_fd())?;
    let upper = at::open_path(&upper)?;
    let hides = xattrs::is_opaque(place::open_dir(&upper, OsStr::new("dir"))?.as_fd(), flavour)?;
    if at::is_whiteout(&Stat::at(&upper, "file")?) && hides { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn exercise(mount: BorrowedFd<'_>) -> io::Result<()> {
    place::unlink(mount, OsStr::new("file"))?;
    rustix::fs::unlinkat(mount, "dir", AtFlags::REMOVEDIR)?;
    place::make_dir(mount, OsStr::new("dir"))
}

struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create(root: &Path) -> io::Result<Scratch> {
        for number in 0..NAMES {
            let path = root.join(format!("probe-{}-{number}", std::process::id()));
            match fs_err::create_dir(&path) {
                Ok(()) => return Ok(Scratch { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.path) {
            tracing::debug!(%error, "the probe's directory stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::probe;
    use crate::DriverChoice;

    #[test]
    fn finds_a_driver_and_leaves_nothing() {
        let check = |root: &std::path::Path, choice: DriverChoice, expected: &str| {
            assert_eq!(probe(root, choice).expect("probing works"), expected);
            assert_eq!(fs_err::read_dir(root).expect("it is a directory").count(), 0);
        };
        let disk = tempfile::tempdir().expect("a directory");
        check(disk.path(), DriverChoice::Auto, "overlay");
        check(disk.path(), DriverChoice::Overlay, "overlay");
        check(disk.path(), DriverChoice::Copy, "copy");
        // Overlay cannot write on proc; nor can anybody else, so this is an error from the start.
        assert!(probe(std::path::Path::new("/proc"), DriverChoice::Overlay).is_err());
    }
}
