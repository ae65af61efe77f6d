//! Names in open directories: what is there, and opening directories by literal paths. Nothing here follows a symbolic link.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rbuild_fs::{Kind, Stat};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What `name` is; `None` when there is nothing.
pub(crate) fn stat(dir: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match Stat::at(dir, name) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What overlay file systems take for a deletion.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    stat.kind == Kind::CharDevice && stat.rdev == 0
}

/// Opens the directory at a relative path beneath `root` (empty: the root itself), refusing every symbolic link on the way.
pub(crate) fn open_beneath(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
            // EAGAIN: a rename ran beside the look-up (openat2(2)).
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Opens a directory of this machine by its own path.
pub(crate) fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a directory as a starting point for look-ups only (O_PATH): cheap, and needs no permission to read it.
pub(crate) fn open_lookup(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
