//! Giving inodes all their metadata, and copying them whole.
//!
//! Order matters: content, owner (it clears set-id bits and capabilities), extended attributes, mode, and times last.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rbuild_fs::{Kind, Stat, place, xattr};
use rustix::fs::{FileType, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};

use crate::error::errno;
use crate::{Attrs, xattrs};

/// Creates an overlay's mark of a deletion.
pub(crate) fn create_whiteout(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)?)
}

/// Whether attributes come from outside, or are copied from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Outside,
    State,
}

impl Origin {
    fn filter(self) -> fn(&[u8]) -> bool {
        match self {
            Origin::Outside => xattrs::may_enter,
            Origin::State => |name| !xattrs::is_overlay(name),
        }
    }
}

/// Sets the attributes of an open file or directory.
pub(crate) fn finish(fd: BorrowedFd<'_>, attrs: &Attrs, origin: Origin) -> io::Result<()> {
    check_owner(attrs)?;
    rustix::fs::fchown(fd, Some(Uid::from_raw(attrs.uid)), Some(Gid::from_raw(attrs.gid)))?;
    xattrs::set(fd, &attrs.xattrs, origin.filter())?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(attrs.mode & 0o7777))?;
    match attrs.mtime {
        Some(mtime) => {
            Ok(rustix::fs::futimens(fd, &Timestamps { last_access: timespec(mtime), last_modification: timespec(mtime) })?)
        }
        None => Ok(()),
    }
}

/// Sets the attributes of a name of that kind; a symbolic link's own.
pub(crate) fn finish_at(dir: BorrowedFd<'_>, name: &OsStr, kind: Kind, attrs: &Attrs, origin: Origin) -> io::Result<()> {
    place::set_owner(dir, name, attrs.uid, attrs.gid)?;
    xattrs::set_at(dir, name, &attrs.xattrs, origin.filter())?;
    if kind != Kind::Symlink {
        place::set_mode(dir, name, attrs.mode)?;
    }
    match attrs.mtime {
        Some(mtime) => place::set_times(dir, name, mtime),
        None => Ok(()),
    }
}

/// Minus one would mean "leave it" to chown(2).
fn check_owner(attrs: &Attrs) -> io::Result<()> {
    if attrs.uid == u32::MAX || attrs.gid == u32::MAX { Err(errno(libc::EINVAL)) } else { Ok(()) }
}

/// Sets the modification time alone, of an open directory.
pub(crate) fn set_mtime(fd: BorrowedFd<'_>, mtime: (i64, u32)) -> io::Result<()> {
    let untouched = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Ok(rustix::fs::futimens(fd, &Timestamps { last_access: untouched, last_modification: timespec(mtime) })?)
}

fn timespec((seconds, nanoseconds): (i64, u32)) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds.min(999_999_999).into() }
}

/// All attributes of an open directory (not an O_PATH one), for a copy.
pub(crate) fn attrs_of_dir(dir: BorrowedFd<'_>) -> io::Result<Attrs> {
    let stat = Stat::of(dir)?;
    Ok(attrs(&stat, xattr::list(dir)?))
}

fn attrs(stat: &Stat, xattrs: Vec<xattr::Xattr>) -> Attrs {
    Attrs { mode: stat.mode, uid: stat.uid, gid: stat.gid, mtime: Some(stat.mtime), xattrs }
}

/// A name in an open directory, with what it is.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a OsStr,
    pub(crate) stat: &'a Stat,
}

/// Copies an inode that is not a directory, with all its attributes, to a name that must not exist.
pub(crate) fn replicate(from: Source<'_>, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let attrs = attrs(from.stat, xattr::list_at(from.dir, from.name)?);
    match from.stat.kind {
        Kind::File => {
            let source = place::open_file(from.dir, from.name)?;
            let copy: OwnedFd = place::create_file(dir, name)?;
            let copied = rbuild_fs::copy_contents(source.as_fd(), copy.as_fd(), from.stat.size)?;
            if copied != from.stat.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return finish(copy.as_fd(), &attrs, Origin::State);
        }
        Kind::Symlink => place::make_symlink(dir, name, &place::read_link(from.dir, from.name)?)?,
        Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => {
            place::make_node(dir, name, from.stat.kind, from.stat.rdev)?
        }
        Kind::Dir => return Err(errno(libc::EISDIR)),
    }
    finish_at(dir, name, from.stat.kind, &attrs, Origin::State)
}
