//! What statx(2) says of a file, without the noise.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, statx};
use rustix::path::Arg;

/// A file's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits, `0o0..=0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes; of a symbolic link, the length of its target.
    pub size: u64,
    /// Last change of the content: seconds since the epoch and nanoseconds.
    pub mtime: (i64, u32),
    /// Last change of the inode: seconds since the epoch and nanoseconds.
    pub ctime: (i64, u32),
    /// The file system's number, as makedev(3).
    pub dev: u64,
    /// The inode's number.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u64,
    /// Of a device node, the device's number, as makedev(3); else 0.
    pub rdev: u64,
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// The kind for a file type; `None` for a type that Linux does not have.
    pub(crate) fn from_file_type(file_type: FileType) -> Option<Kind> {
        match file_type {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Dir),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::CharacterDevice => Some(Kind::CharDevice),
            FileType::BlockDevice => Some(Kind::BlockDevice),
            FileType::Fifo => Some(Kind::Fifo),
            FileType::Socket => Some(Kind::Socket),
            FileType::Unknown => None,
        }
    }

    /// The `S_IFMT` part of `st_mode`.
    pub fn file_type(self) -> FileType {
        match self {
            Kind::File => FileType::RegularFile,
            Kind::Dir => FileType::Directory,
            Kind::Symlink => FileType::Symlink,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
        }
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name: one component, never `.` or `..`.
    pub name: OsString,
    /// What it names.
    pub kind: Kind,
}

impl Stat {
    /// Of an open descriptor; O_PATH ones are fine.
    pub fn of(fd: impl AsFd) -> io::Result<Stat> {
        Stat::query(fd.as_fd(), c"", AtFlags::EMPTY_PATH)
    }

    /// Of one name in a directory; a link itself, not what it points to. ENOENT when it is absent.
    pub fn at(dir: impl AsFd, name: impl Arg) -> io::Result<Stat> {
        Stat::query(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn query(dir: BorrowedFd<'_>, name: impl Arg, flags: AtFlags) -> io::Result<Stat> {
        let found = statx(dir, name, flags | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)?;
        Stat::from_statx(&found)
    }

    fn from_statx(found: &Statx) -> io::Result<Stat> {
        let mode = u32::from(found.stx_mode);
        let kind = Kind::from_file_type(FileType::from_raw_mode(mode)).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Stat {
            kind,
            mode: mode & 0o7777,
            uid: found.stx_uid,
            gid: found.stx_gid,
            size: found.stx_size,
            mtime: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            ctime: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
            dev: makedev(found.stx_dev_major, found.stx_dev_minor),
            ino: found.stx_ino,
            nlink: u64::from(found.stx_nlink),
            rdev: makedev(found.stx_rdev_major, found.stx_rdev_minor),
        })
    }

    /// Whether both describe one inode.
    pub fn same_inode(&self, other: &Stat) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}
