//! Which extended attributes may come in and go out, and overlay's mark of an opaque directory.
//!
//! Overlay file systems keep their own notes in `trusted.overlay.*` or `user.overlay.*`. None of these is ever taken from outside, copied or
//! written into a layer: they are dropped.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;

use rbuild_fs::xattr::{self, Xattr};

/// Where an overlay keeps its notes: `trusted.*` needs CAP_SYS_ADMIN in the first user namespace, `user.*` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Trusted,
    User,
}

impl Flavour {
    /// Set to `y`, it hides what the lower layers have in a directory.
    fn opaque(self) -> &'static [u8] {
        match self {
            Flavour::Trusted => b"trusted.overlay.opaque",
            Flavour::User => b"user.overlay.opaque",
        }
    }
}

/// Whether a name belongs to overlay file systems.
pub(crate) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Whether an attribute may come in with a file (COPY, ADD, a layer): security labels of another machine may not.
pub(crate) fn may_enter(name: &[u8]) -> bool {
    !is_overlay(name) && (!name.starts_with(b"security.") || name == b"security.capability")
}

/// Whether a layer carries an attribute: the capability alone, as containerd writes layers (spec G-66).
pub(crate) fn may_leave(name: &[u8]) -> bool {
    name == b"security.capability"
}

/// The attributes of an open file or directory that a layer carries.
pub(crate) fn leaving(fd: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    let mut found = xattr::list(fd)?;
    found.retain(|(name, _)| may_leave(name));
    Ok(found)
}

/// As [`leaving`], of a name in a directory.
pub(crate) fn leaving_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Vec<Xattr>> {
    let mut found = xattr::list_at(dir, name)?;
    found.retain(|(name, _)| may_leave(name));
    Ok(found)
}

/// Sets attributes of an open file or directory. What the file system or the kind of file does not support is left out, as docker does.
pub(crate) fn set(fd: BorrowedFd<'_>, xattrs: &[Xattr], may: fn(&[u8]) -> bool) -> io::Result<()> {
    for (name, value) in xattrs.iter().filter(|(name, _)| may(name)) {
        tolerate(name, xattr::set(fd, name, value))?;
    }
    Ok(())
}

/// As [`set`], of a name in a directory; a symbolic link's own.
pub(crate) fn set_at(dir: BorrowedFd<'_>, name: &OsStr, xattrs: &[Xattr], may: fn(&[u8]) -> bool) -> io::Result<()> {
    for (attribute, value) in xattrs.iter().filter(|(attribute, _)| may(attribute)) {
        tolerate(attribute, xattr::set_at(dir, name, attribute, value))?;
    }
    Ok(())
}

fn tolerate(name: &[u8], outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        // user.* exists only on files and directories, trusted.* only for the first user namespace's root.
        Err(error)
            if error.raw_os_error() == Some(libc::EPERM) && (name.starts_with(b"user.") || name.starts_with(b"trusted.")) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Whether an open directory is marked opaque.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, flavour: Flavour) -> io::Result<bool> {
    Ok(xattr::get(dir, flavour.opaque())?.is_some_and(|value| value == b"y"))
}

/// Marks an open directory opaque.
pub(crate) fn set_opaque(dir: BorrowedFd<'_>, flavour: Flavour) -> io::Result<()> {
    xattr::set(dir, flavour.opaque(), b"y")
}
