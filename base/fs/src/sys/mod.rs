//! System calls that rustix does not offer: the `*xattrat` family, fchmodat2 and mount_setattr.
//!
//! Their numbers are the same on every architecture that rbuild is built for (all were added after the numbers were unified).
#![allow(unsafe_code, reason = "raw system calls live here alone")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const FCHMODAT2: libc::c_long = 452;
const MOUNT_SETATTR: libc::c_long = 442;
const SETXATTRAT: libc::c_long = 463;
const GETXATTRAT: libc::c_long = 464;
const LISTXATTRAT: libc::c_long = 465;
const REMOVEXATTRAT: libc::c_long = 466;

const NOFOLLOW: libc::c_int = libc::AT_SYMLINK_NOFOLLOW;

/// `struct xattr_args` of linux/xattr.h.
#[repr(C, align(8))]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

fn check(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_negative| io::Error::last_os_error())
}

/// fchmodat2(2) without following links (Linux 6.6).
pub(crate) fn chmod_at(dir: BorrowedFd<'_>, path: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: `path` is a terminated string that outlives the call; the kernel only reads it.
    let result = unsafe { libc::syscall(FCHMODAT2, dir.as_raw_fd(), path.as_ptr(), mode, NOFOLLOW) };
    check(result).map(drop)
}

/// setxattrat(2) without following links (Linux 6.13).
pub(crate) fn set_xattr_at(dir: BorrowedFd<'_>, path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    let size = u32::try_from(value.len()).map_err(|_too_long| io::Error::from_raw_os_error(libc::E2BIG))?;
    let args = XattrArgs { value: value.as_ptr() as u64, size, flags: 0 };
    // SAFETY: the strings, `args` and the value that it points to outlive the call, which only reads them.
    let result = unsafe {
        libc::syscall(
            SETXATTRAT,
            dir.as_raw_fd(),
            path.as_ptr(),
            NOFOLLOW,
            name.as_ptr(),
            &raw const args,
            size_of::<XattrArgs>(),
        )
    };
    check(result).map(drop)
}

/// getxattrat(2) without following links (Linux 6.13). Returns the value's length; an empty buffer only asks for it.
pub(crate) fn get_xattr_at(dir: BorrowedFd<'_>, path: &CStr, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    let size = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let mut args = XattrArgs { value: buffer.as_mut_ptr() as u64, size, flags: 0 };
    // SAFETY: the kernel writes at most `size` bytes to `buffer`, which is that long and exclusively borrowed.
    let result = unsafe {
        libc::syscall(GETXATTRAT, dir.as_raw_fd(), path.as_ptr(), NOFOLLOW, name.as_ptr(), &raw mut args, size_of::<XattrArgs>())
    };
    check(result)
}

/// listxattrat(2) without following links (Linux 6.13). Returns the list's length; an empty buffer only asks for it.
pub(crate) fn list_xattr_at(dir: BorrowedFd<'_>, path: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`, which is exclusively borrowed.
    let result =
        unsafe { libc::syscall(LISTXATTRAT, dir.as_raw_fd(), path.as_ptr(), NOFOLLOW, buffer.as_mut_ptr(), buffer.len()) };
    check(result)
}

/// removexattrat(2) without following links (Linux 6.13).
pub(crate) fn remove_xattr_at(dir: BorrowedFd<'_>, path: &CStr, name: &CStr) -> io::Result<()> {
    // SAFETY: both strings are terminated and outlive the call, which only reads them.
    let result = unsafe { libc::syscall(REMOVEXATTRAT, dir.as_raw_fd(), path.as_ptr(), NOFOLLOW, name.as_ptr()) };
    check(result).map(drop)
}

/// `struct mount_attr` of linux/mount.h, its first version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MountAttributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) user_namespace: u64,
}

/// mount_setattr(2) on the mount that `mount` is the root of (Linux 5.12).
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attributes: &MountAttributes) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a terminated constant and `attributes` a live struct of the size given; both are only read.
    let result = unsafe {
        libc::syscall(
            MOUNT_SETATTR,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    check(result).map(drop)
}

#[cfg(test)]
pub(crate) mod tests {
    //! What tests of other modules need.

    /// Moves the calling thread into new namespaces.
    pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) {
        // SAFETY: the flags never include FILES, so no descriptor changes its meaning for anybody.
        unsafe { rustix::thread::unshare_unsafe(flags) }.unwrap();
    }
}
