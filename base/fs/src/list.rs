//! Listing one directory with getdents64, sorted by the bytes of the names.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, RawDir, openat};

use crate::{DirEntry, Kind, Stat};

/// Room for some 1000 names a call.
const BUFFER: usize = 32 * 1024;

/// The names in an open directory (not an O_PATH one), sorted by their bytes. The descriptor's position is not used or changed.
pub fn list_dir(dir: BorrowedFd<'_>) -> io::Result<Vec<DirEntry>> {
    // A position of its own: `dir` may be shared between threads.
    let own = openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    list_open_dir(&own)
}

/// As [`list_dir`], from the descriptor's own position, which must be the start.
pub(crate) fn list_open_dir(dir: impl std::os::fd::AsFd + Copy) -> io::Result<Vec<DirEntry>> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = Vec::new();
    let mut raw = RawDir::new(dir, &mut buffer);
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        let name: OsString = OsStr::from_bytes(bytes).to_owned();
        let kind = match Kind::from_file_type(entry.file_type()) {
            Some(kind) => kind,
            // Some file systems leave the type to stat(2); what vanished meanwhile is not listed.
            None => match Stat::at(dir, &*name) {
                Ok(stat) => stat.kind,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                Err(error) => return Err(error),
            },
        };
        entries.push(DirEntry { name, kind });
    }
    entries.sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    Ok(entries)
}
