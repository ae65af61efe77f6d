//! mount_setattr(2), Linux 5.12.
#![allow(unsafe_code, reason = "a raw system call")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to change on a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing can be written through it.
    ReadOnly,
    /// No device node in it can be opened.
    NoDevices,
    /// Mounts on it or on its peers do not reach each other any more.
    Private,
}

/// Changes the mount whose root `mount` is, attached or not, and with `recursive` all mounts below it.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, change: Change, recursive: bool) -> io::Result<()> {
    let mut attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    match change {
        Change::ReadOnly => attributes.attr_set = libc::MOUNT_ATTR_RDONLY,
        Change::NoDevices => attributes.attr_set = libc::MOUNT_ATTR_NODEV,
        Change::Private => attributes.propagation = libc::MS_PRIVATE,
    }
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: mount_setattr(2): the path is a terminated string, `attributes` is a live `mount_attr` of the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw mut attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
