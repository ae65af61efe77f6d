//! Takes away mount points that were made for a sandbox, once it is over (spec G-61).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, OFlags, RawMode, statat, unlinkat};

use crate::child::rooted;
use crate::wire::Stub;

/// Removes those of `stubs` that are still there and empty, the last made first; a directory keeps its times. What cannot be removed
/// stays, as it does when the command has put something into it.
pub(super) fn remove(root: BorrowedFd<'_>, stubs: &[Stub]) {
    for stub in stubs.iter().rev() {
        let _kept = remove_one(root, stub);
    }
}

fn remove_one(root: BorrowedFd<'_>, stub: &Stub) -> io::Result<()> {
    let path = Path::new(OsStr::from_bytes(&stub.parent));
    let parent = rooted::open_without_links(root, path, OFlags::PATH | OFlags::DIRECTORY)?;
    let name = OsStr::from_bytes(&stub.name);
    let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match (FileType::from_raw_mode(stat.st_mode as RawMode), stub.directory) {
        (FileType::Directory, true) => AtFlags::REMOVEDIR,
        (FileType::RegularFile, false) if stat.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    let times = rooted::times_of(parent.as_fd())?;
    unlinkat(&parent, name, flags)?;
    rooted::set_times(parent.as_fd(), &times)
}
