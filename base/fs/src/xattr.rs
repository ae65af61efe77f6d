//! Extended attributes of descriptors of any kind, and of names in a directory, links themselves included.
//!
//! Plain descriptors use the f*xattr calls, names the *xattrat calls of Linux 6.13. Names before that, and O_PATH descriptors always
//! (both families refuse them: EBADF), go through `/proc/self/fd`, which leads to the very inode, a link's own too.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, XattrFlags, openat};
use rustix::io::Errno;

use crate::sys;

/// A name and its value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Lists that change while they are read are read again this often.
const MAX_RACES: usize = 16;
/// Enough for the names of nearly every file, so that one call is enough.
const FIRST_TRY: usize = 512;

/// Whether the kernel was seen to have no *xattrat calls (or a seccomp filter that hides them).
static NO_XATTRAT: AtomicBool = AtomicBool::new(false);

/// All attributes with their values, sorted by name. Empty where the file system has none (EOPNOTSUPP).
pub fn list(fd: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    read_all(&Target::Fd(fd))
}

/// One attribute; `None` when it is absent.
pub fn get(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    Target::Fd(fd).get(&terminated(name)?)
}

/// Sets an attribute, new or not.
pub fn set(fd: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    Target::Fd(fd).set(&terminated(name)?, value)
}

/// Removes an attribute. False when it was absent.
pub fn remove(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    Target::Fd(fd).remove(&terminated(name)?)
}

/// As [`list`], of a name in a directory; links are not followed.
pub fn list_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Vec<Xattr>> {
    read_all(&Target::name(dir, name)?)
}

/// As [`get`], of a name in a directory; links are not followed.
pub fn get_at(dir: BorrowedFd<'_>, name: &OsStr, attribute: &[u8]) -> io::Result<Option<Vec<u8>>> {
    Target::name(dir, name)?.get(&terminated(attribute)?)
}

/// As [`set`], of a name in a directory; links are not followed.
pub fn set_at(dir: BorrowedFd<'_>, name: &OsStr, attribute: &[u8], value: &[u8]) -> io::Result<()> {
    Target::name(dir, name)?.set(&terminated(attribute)?, value)
}

/// As [`remove`], of a name in a directory; links are not followed.
pub fn remove_at(dir: BorrowedFd<'_>, name: &OsStr, attribute: &[u8]) -> io::Result<bool> {
    Target::name(dir, name)?.remove(&terminated(attribute)?)
}

/// Whose attributes.
enum Target<'a> {
    Fd(BorrowedFd<'a>),
    Name(BorrowedFd<'a>, CString),
}

impl<'a> Target<'a> {
    fn name(dir: BorrowedFd<'a>, name: &OsStr) -> io::Result<Target<'a>> {
        crate::place::check_name(name)?;
        Ok(Target::Name(dir, terminated(name.as_bytes())?))
    }

    fn list(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(|way| match way {
            Way::Fd(fd) => Ok(rustix::fs::flistxattr(fd, &mut *buffer)?),
            Way::At(dir, path) => sys::list_xattr_at(dir, path, buffer),
            Way::Proc(path) => Ok(rustix::fs::listxattr(path, &mut *buffer)?),
        })
    }

    fn get(&self, name: &CStr) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; FIRST_TRY];
        for _ in 0..MAX_RACES {
            let read = self.call(|way| match way {
                Way::Fd(fd) => Ok(rustix::fs::fgetxattr(fd, name, &mut *buffer)?),
                Way::At(dir, path) => sys::get_xattr_at(dir, path, name, &mut buffer),
                Way::Proc(path) => Ok(rustix::fs::getxattr(path, name, &mut *buffer)?),
            });
            match read {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(error) if is_errno(&error, Errno::RANGE) => grow(&mut buffer)?,
                Err(error) if is_errno(&error, Errno::NODATA) || is_errno(&error, Errno::OPNOTSUPP) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(Errno::RANGE.into())
    }

    fn set(&self, name: &CStr, value: &[u8]) -> io::Result<()> {
        self.call(|way| match way {
            Way::Fd(fd) => Ok(rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())?),
            Way::At(dir, path) => sys::set_xattr_at(dir, path, name, value),
            Way::Proc(path) => Ok(rustix::fs::setxattr(path, name, value, XattrFlags::empty())?),
        })
    }

    fn remove(&self, name: &CStr) -> io::Result<bool> {
        let removed = self.call(|way| match way {
            Way::Fd(fd) => Ok(rustix::fs::fremovexattr(fd, name)?),
            Way::At(dir, path) => sys::remove_xattr_at(dir, path, name),
            Way::Proc(path) => Ok(rustix::fs::removexattr(path, name)?),
        });
        match removed {
            Ok(()) => Ok(true),
            Err(error) if is_errno(&error, Errno::NODATA) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tries the ways in turn until one is there.
    fn call<T>(&self, mut attempt: impl FnMut(Way<'_>) -> io::Result<T>) -> io::Result<T> {
        match self {
            Target::Fd(fd) => match attempt(Way::Fd(*fd)) {
                // What an O_PATH descriptor gets.
                Err(error) if is_errno(&error, Errno::BADF) => call_by_proc(*fd, attempt),
                done => done,
            },
            Target::Name(dir, name) => {
                if !NO_XATTRAT.load(Ordering::Relaxed) {
                    match attempt(Way::At(*dir, name)) {
                        Err(error) if is_errno(&error, Errno::NOSYS) => NO_XATTRAT.store(true, Ordering::Relaxed),
                        done => return done,
                    }
                }
                let opened = openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
                call_by_proc(opened.as_fd(), attempt)
            }
        }
    }
}

fn call_by_proc<T>(fd: BorrowedFd<'_>, mut attempt: impl FnMut(Way<'_>) -> io::Result<T>) -> io::Result<T> {
    let path = terminated(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_bytes())?;
    attempt(Way::Proc(&path))
}

/// How the kernel is asked.
enum Way<'a> {
    Fd(BorrowedFd<'a>),
    At(BorrowedFd<'a>, &'a CStr),
    Proc(&'a CStr),
}

fn read_all(target: &Target<'_>) -> io::Result<Vec<Xattr>> {
    let mut small = [0; FIRST_TRY];
    match target.list(&mut small) {
        Ok(0) => Ok(Vec::new()),
        Ok(length) => read_values(target, &small[..length]),
        Err(error) if is_errno(&error, Errno::RANGE) => read_values(target, &long_list(target)?),
        Err(error) if is_errno(&error, Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn long_list(target: &Target<'_>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; FIRST_TRY * 4];
    for _ in 0..MAX_RACES {
        match target.list(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(error) if is_errno(&error, Errno::RANGE) => grow(&mut buffer)?,
            Err(error) => return Err(error),
        }
    }
    Err(Errno::RANGE.into())
}

fn read_values(target: &Target<'_>, names: &[u8]) -> io::Result<Vec<Xattr>> {
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // What vanished meanwhile is not listed.
        if let Some(value) = target.get(&terminated(name)?)? {
            found.push((name.to_vec(), value));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The kernel's own limit of names and of a value is 64 KiB.
fn grow(buffer: &mut Vec<u8>) -> io::Result<()> {
    if buffer.len() > 128 * 1024 {
        return Err(Errno::RANGE.into());
    }
    buffer.resize(buffer.len() * 4, 0);
    Ok(())
}

fn terminated(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_inner_nul| Errno::INVAL.into())
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
#[path = "xattr_tests.rs"]
mod tests;
