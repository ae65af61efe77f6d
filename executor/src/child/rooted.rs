//! Paths beneath the root, resolved by the kernel (openat2 RESOLVE_IN_ROOT), and made where they are missing.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, StatxFlags, Timestamps, Uid, chownat, fstat, mkdirat, openat,
    openat2, readlinkat, statat, statx, utimensat,
};
use rustix::io::Errno;

use crate::wire::Stub;

/// The kernel's own limit of links in a path.
const MAX_LINKS: u32 = 40;

/// openat2(2) asks to try again when a rename happened meanwhile.
const MAX_RETRIES: u32 = 128;

/// What the last component of a path is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Directory,
    File,
}

/// Opens `path` as if `root` were `/`; links are followed inside it.
pub(super) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// As [`open`], for a path that must not go through any link.
pub(super) fn open_without_links(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

fn open_with(root: BorrowedFd<'_>, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    let mut retries = 0;
    loop {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if retries < MAX_RETRIES => retries += 1,
            opened => return Ok(opened?),
        }
    }
}

/// The content of a regular file of at most `limit` bytes; `None` when there is none.
pub(super) fn read(root: BorrowedFd<'_>, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    // Not to wait for the writer of a pipe of that name.
    let file = match open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error),
    };
    if file_type(file.as_fd())? != FileType::RegularFile {
        return Err(io::Error::from(Errno::INVAL));
    }
    let mut bytes = Vec::new();
    fs::File::from_parts(std::fs::File::from(file), path).take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::from(Errno::FBIG));
    }
    Ok(Some(bytes))
}

/// What kind of file a descriptor is.
pub(super) fn file_type(fd: BorrowedFd<'_>) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode as RawMode))
}

/// Opens `path` (O_PATH), following links in the root also where they dangle, and makes what is missing: directories 0755, a file 0644,
/// with `owner` (uid, gid) or root. The times of a directory in which something was made stay as they were. What was made in the root's
/// own mount is added to `made`, also before a failure.
pub(super) fn ensure(
    root: BorrowedFd<'_>,
    path: &Path,
    leaf: Leaf,
    owner: Option<(u32, u32)>,
    made: &mut Vec<Stub>,
) -> io::Result<OwnedFd> {
    let opened = match open(root, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(root, path, leaf, owner, made)?,
        opened => opened?,
    };
    let is_directory = file_type(opened.as_fd())? == FileType::Directory;
    match leaf {
        Leaf::Directory if !is_directory => Err(io::Error::from(Errno::NOTDIR)),
        Leaf::File if is_directory => Err(io::Error::from(Errno::ISDIR)),
        Leaf::Directory | Leaf::File => Ok(opened),
    }
}

/// Walks component by component. `done` is where `current` is, without links.
fn make(root: BorrowedFd<'_>, path: &Path, leaf: Leaf, owner: Option<(u32, u32)>, made: &mut Vec<Stub>) -> io::Result<OwnedFd> {
    let mut pending = Vec::new();
    push_components(&mut pending, path);
    let mut done = PathBuf::new();
    let mut current = open_without_links(root, &done, OFlags::PATH)?;
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            done.pop();
            current = open_without_links(root, &done, OFlags::PATH)?;
            continue;
        }
        let wanted = if pending.is_empty() { leaf } else { Leaf::Directory };
        let next = match openat(&current, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => {
                let next = make_one(current.as_fd(), &name, wanted, owner)?;
                if mount_id(current.as_fd(), Path::new(""))? == mount_id(root, Path::new(""))? {
                    let parent = done.as_os_str().as_bytes().to_vec();
                    made.push(Stub { parent, name: name.as_bytes().to_vec(), directory: wanted == Leaf::Directory });
                }
                next
            }
            opened => opened?,
        };
        if file_type(next.as_fd())? == FileType::Symlink {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from(Errno::LOOP));
            }
            let target = readlinkat(&next, "", Vec::new())?;
            let target = Path::new(OsStr::from_bytes(target.as_bytes()));
            if target.is_absolute() {
                done.clear();
                current = open_without_links(root, &done, OFlags::PATH)?;
            }
            push_components(&mut pending, target);
            continue;
        }
        done.push(&name);
        current = next;
    }
    Ok(current)
}

fn push_components(pending: &mut Vec<OsString>, path: &Path) {
    let components = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    pending.extend(components);
}

fn make_one(parent: BorrowedFd<'_>, name: &OsStr, leaf: Leaf, owner: Option<(u32, u32)>) -> io::Result<OwnedFd> {
    let times = times_of(parent)?;
    match leaf {
        Leaf::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755))?,
        Leaf::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(openat(parent, name, flags, Mode::from_raw_mode(0o644))?);
        }
    }
    if let Some((uid, gid)) = owner {
        chownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    set_times(parent, &times)?;
    Ok(openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Access and modification time of a directory.
pub(super) fn times_of(directory: BorrowedFd<'_>) -> io::Result<Timestamps> {
    let stat = statat(directory, "", AtFlags::EMPTY_PATH)?;
    let nanoseconds = |value| i64::try_from(value).map_err(io::Error::other);
    Ok(Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: stat.st_atime, tv_nsec: nanoseconds(stat.st_atime_nsec)? },
        last_modification: rustix::fs::Timespec { tv_sec: stat.st_mtime, tv_nsec: nanoseconds(stat.st_mtime_nsec)? },
    })
}

/// The reverse of [`times_of`].
pub(super) fn set_times(directory: BorrowedFd<'_>, times: &Timestamps) -> io::Result<()> {
    Ok(utimensat(directory, ".", times, AtFlags::empty())?)
}

/// The mount that a path is in, by the kernel's number.
pub(super) fn mount_id(directory: BorrowedFd<'_>, path: &Path) -> io::Result<u64> {
    Ok(statx(directory, path, AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}
