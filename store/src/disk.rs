//! Sizes and removal of trees whose content is not ours: resolved by descriptor, links never followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// Removes a file or a tree. What is gone already is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    match open_dir(CWD, parent.as_os_str())? {
        Some(parent) => rbuild_fs::remove_tree(parent, name).map(drop),
        None => Ok(()),
    }
}

/// Bytes that a file or tree takes on the disk. What vanishes meanwhile is not counted.
pub(crate) fn size_of(path: &Path) -> io::Result<u64> {
    let stat = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(0),
        other => other?,
    };
    let mut total = blocks(&stat);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(total);
    }
    let mut pending = vec![open_dir(CWD, path.as_os_str())?];
    while let Some(dir) = pending.pop() {
        let Some(dir) = dir else { continue };
        let mut entries = Dir::read_from(&dir)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let Ok(stat) = statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            total += blocks(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(open_dir(&dir, OsStr::from_bytes(name))?);
            }
        }
    }
    Ok(total)
}

fn open_dir(at: impl AsFd, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn blocks(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}
