//! The content of /dev.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dev, Dir, FileType, Gid, Mode, OFlags, RawMode, Uid, chownat, makedev, mkdirat, mknodat, openat, statat,
    symlinkat,
};
use rustix::io::Errno;

use crate::child::mounts::{attach, clone_of};
use crate::error::{ExecutorError, Step};
use crate::sys::mount::{Change, set_attributes};

/// Name, major and minor number (Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// What a privileged sandbox must not take from the host's /dev, because it has its own.
const OWN: [&str; 5] = ["console", "mqueue", "ptmx", "pts", "shm"];

/// Depth of the host's /dev that is looked through.
const MAX_DEPTH: u32 = 8;

/// Fills an empty /dev that is attached.
pub(super) fn make(dev: BorrowedFd<'_>, privileged: bool) -> Result<(), ExecutorError> {
    for (name, major, minor) in DEVICES {
        make_device(dev, name, makedev(major, minor)).step(|| format!("create `/dev/{name}`"))?;
    }
    for (name, target) in LINKS {
        symlinkat(target, dev, name).step(|| format!("create `/dev/{name}`"))?;
    }
    if privileged {
        let host = openat(CWD, "/dev", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        host.map_err(io::Error::from).and_then(|host| copy_devices(&host, dev, 0)).step(|| "copy the host's devices")?;
    }
    Ok(())
}

/// Makes each device a mount of its own, and everything else that is or will be in /dev no device (see `mounts::disable_devices`).
pub(super) fn keep_only_own(dev: BorrowedFd<'_>) -> io::Result<()> {
    for (name, _, _) in DEVICES {
        let device = clone_of(dev, Path::new(name), false)?;
        attach(device.as_fd(), openat(dev, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?.as_fd())?;
    }
    set_attributes(dev, Change::NoDevices, false)
}

/// Opens a directory of /dev, made when it is missing.
pub(super) fn directory(dev: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(dev, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(openat(dev, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes an empty file of /dev and attaches a mount to it.
pub(super) fn attach_file(dev: BorrowedFd<'_>, name: &str, mount: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let point = openat(dev, name, flags, Mode::from_raw_mode(0o620))?;
    attach(mount, point.as_fd())
}

fn make_device(dev: BorrowedFd<'_>, name: &str, device: Dev) -> io::Result<()> {
    match mknodat(dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device) {
        // Without CAP_MKNOD: the host's own.
        Err(Errno::PERM) => {
            let host = clone_of(CWD, &Path::new("/dev").join(name), false)?;
            attach_file(dev, name, host.as_fd())
        }
        made => Ok(made?),
    }
}

fn copy_devices(from: &OwnedFd, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let own = depth == 0 && OWN.iter().any(|own| name == *own);
        if name == "." || name == ".." || own {
            continue;
        }
        // Devices come and go meanwhile.
        let Ok(stat) = statat(from, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let mode = Mode::from_raw_mode(stat.st_mode as RawMode);
        let kind = FileType::from_raw_mode(stat.st_mode as RawMode);
        if kind == FileType::Directory && depth < MAX_DEPTH {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(below) = openat(from, name, flags, Mode::empty()) else { continue };
            mkdirat(to, name, mode)?;
            let made = openat(to, name, flags, Mode::empty())?;
            copy_devices(&below, made.as_fd(), depth + 1)?;
        } else if kind == FileType::CharacterDevice || kind == FileType::BlockDevice {
            match mknodat(to, name, kind, mode, stat.st_rdev) {
                Ok(()) => {
                    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                    chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                }
                Err(Errno::EXIST | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
