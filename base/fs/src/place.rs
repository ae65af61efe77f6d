//! Creating, changing and replacing single names beneath a directory descriptor, without ever following a link.
//!
//! A name is one component: empty, `.`, `..` and anything with a slash is EINVAL, so that no caller can be led elsewhere by what an
//! archive says. The umask plays no role where a [`Meta`] is applied. [`crate::DirCache`] finds the directory descriptors quickly.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use rustix::io::Errno;

use crate::{Kind, sys, xattr};

/// Whether the kernel was seen to have no fchmodat2 (before 6.6).
static NO_FCHMODAT2: AtomicBool = AtomicBool::new(false);

/// EINVAL unless `name` is one plain component.
pub fn check_name(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(Errno::INVAL.into());
    }
    Ok(())
}

/// Makes a directory with mode 0700 (for the owner to fill; [`apply_at`] gives it its own). EEXIST when the name is taken.
pub fn make_dir(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    check_name(name)?;
    Ok(rustix::fs::mkdirat(dir, name, Mode::RWXU)?)
}

/// Makes a new empty file, mode 0600, open for reading and writing. EEXIST when the name is taken, by a link too.
pub fn create_file(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    check_name(name)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Makes a symbolic link that says `target`, taken as it is.
pub fn make_symlink(dir: impl AsFd, name: &OsStr, target: &Path) -> io::Result<()> {
    check_name(name)?;
    Ok(rustix::fs::symlinkat(target, dir, name)?)
}

/// Makes a second name for an inode, a symbolic link's own too.
pub fn make_hard_link(from_dir: impl AsFd, from: &OsStr, dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    check_name(from)?;
    check_name(name)?;
    Ok(rustix::fs::linkat(from_dir, from, dir, name, AtFlags::empty())?)
}

/// Makes a device node, fifo or socket, mode 0600. EINVAL for the other kinds. `rdev` as makedev(3), used for devices only.
/// Refuses nothing else: that a 0:0 character device is overlay's whiteout is for the caller to know.
pub fn make_node(dir: impl AsFd, name: &OsStr, kind: Kind, rdev: u64) -> io::Result<()> {
    check_name(name)?;
    let rdev = match kind {
        Kind::CharDevice | Kind::BlockDevice => rdev,
        Kind::Fifo | Kind::Socket => 0,
        Kind::File | Kind::Dir | Kind::Symlink => return Err(Errno::INVAL.into()),
    };
    Ok(rustix::fs::mknodat(dir, name, kind.file_type(), Mode::RUSR | Mode::WUSR, rdev)?)
}

/// Opens a directory of that name for reading. ENOTDIR for a link.
pub fn open_dir(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    check_name(name)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// Opens a file of that name for reading, which the caller knows to be regular: a fifo does not block, but a device is opened.
/// ELOOP for a link.
pub fn open_file(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    check_name(name)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// What the symbolic link of that name says. EINVAL when it is none.
pub fn read_link(dir: impl AsFd, name: &OsStr) -> io::Result<PathBuf> {
    check_name(name)?;
    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

/// Removes a name that is not a directory (EISDIR). [`crate::remove_tree`] removes anything.
pub fn unlink(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    check_name(name)?;
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

/// Removes an empty directory.
pub fn remove_dir(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    check_name(name)?;
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// What renaming does to a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// Replace it, as rename(2) does.
    Replace,
    /// EEXIST.
    NoReplace,
    /// Swap the two.
    Exchange,
}

/// renameat2(2).
pub fn rename(from_dir: impl AsFd, from: &OsStr, dir: impl AsFd, name: &OsStr, how: Rename) -> io::Result<()> {
    check_name(from)?;
    check_name(name)?;
    let flags = match how {
        Rename::Replace => RenameFlags::empty(),
        Rename::NoReplace => RenameFlags::NOREPLACE,
        Rename::Exchange => RenameFlags::EXCHANGE,
    };
    Ok(rustix::fs::renameat_with(from_dir, from, dir, name, flags)?)
}

/// Attributes to be given to something. The order in which they are applied matters and is this module's business: changing the
/// owner clears set-id bits and `security.capability`, and everything changes times.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// Permission bits, `0o0..=0o7777`; ignored for symbolic links, which have none of their own.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// (seconds, nanoseconds) for mtime and atime; `None` leaves them.
    pub mtime: Option<(i64, u32)>,
    /// Set as they are, all of them.
    pub xattrs: &'a [xattr::Xattr],
}

/// Applies all of `meta` to an open file or directory. O_PATH descriptors are EBADF.
pub fn apply(fd: impl AsFd, meta: &Meta<'_>) -> io::Result<()> {
    let fd = fd.as_fd();
    let (uid, gid) = owner(meta.uid, meta.gid)?;
    rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(meta.mode & 0o7777))?;
    for (name, value) in meta.xattrs {
        xattr::set(fd, name, value)?;
    }
    match meta.mtime {
        Some(mtime) => Ok(rustix::fs::futimens(fd, &both_times(mtime))?),
        None => Ok(()),
    }
}

/// Applies all of `meta` to a name of that kind, a link itself when it is one.
pub fn apply_at(dir: impl AsFd, name: &OsStr, kind: Kind, meta: &Meta<'_>) -> io::Result<()> {
    let dir = dir.as_fd();
    set_owner(dir, name, meta.uid, meta.gid)?;
    if kind != Kind::Symlink {
        set_mode(dir, name, meta.mode)?;
    }
    for (attribute, value) in meta.xattrs {
        xattr::set_at(dir, name, attribute, value)?;
    }
    match meta.mtime {
        Some(mtime) => set_times(dir, name, mtime),
        None => Ok(()),
    }
}

/// Changes owner and group. Clears set-id bits of files and `security.capability`.
pub fn set_owner(dir: impl AsFd, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
    check_name(name)?;
    let (uid, gid) = owner(uid, gid)?;
    Ok(rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Changes the permission bits. EOPNOTSUPP for a symbolic link, which is never followed.
pub fn set_mode(dir: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    check_name(name)?;
    let dir = dir.as_fd();
    let mode = mode & 0o7777;
    let path = std::ffi::CString::new(name.as_bytes()).expect("`check_name` refuses NUL");
    if !NO_FCHMODAT2.load(Ordering::Relaxed) {
        match sys::chmod_at(dir, &path, mode) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => NO_FCHMODAT2.store(true, Ordering::Relaxed),
            done => return done,
        }
    }
    set_mode_by_proc(dir, name, mode)
}

/// As before Linux 6.6.
fn set_mode_by_proc(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<()> {
    let fd = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if crate::Stat::of(&fd)?.kind == Kind::Symlink {
        return Err(Errno::OPNOTSUPP.into());
    }
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::from_raw_mode(mode))?)
}

/// Sets mtime and atime to the same (seconds, nanoseconds), of a link itself too.
pub fn set_times(dir: impl AsFd, name: &OsStr, mtime: (i64, u32)) -> io::Result<()> {
    check_name(name)?;
    Ok(rustix::fs::utimensat(dir, name, &both_times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Uid and gid for a system call. EINVAL for 4294967295, which would mean "leave it".
fn owner(uid: u32, gid: u32) -> io::Result<(Uid, Gid)> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL.into());
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn both_times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    debug_assert!(i64::from(nanoseconds) != UTIME_NOW && i64::from(nanoseconds) != UTIME_OMIT, "a time is a time");
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds.min(999_999_999)) };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
