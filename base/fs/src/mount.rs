//! Mounts that are attached nowhere: trees cloned by open_tree(2), overlays made by fsopen(2).
//!
//! A detached mount lives as long as its descriptor; paths beneath it resolve by `openat2` as in any directory. Needs CAP_SYS_ADMIN
//! in the user namespace that owns the mount namespace.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::sys;

/// A mount that is not attached anywhere yet, or the recipe for one; the sandbox child attaches it.
#[derive(Debug)]
pub enum MountSource {
    /// From fsmount(2) or open_tree(2): attach with move_mount(2).
    Detached(OwnedFd),
    /// For kernels before 6.8: overlay by mount(2) with short relative paths, made by the child.
    Overlay {
        /// The directory that the other paths are relative to.
        base: PathBuf,
        /// Lower directories, the uppermost first.
        lower: Vec<String>,
        /// The writable directory.
        upper: Option<String>,
        /// Overlay's own directory, on the file system of `upper`.
        work: Option<String>,
        /// Whether overlay keeps its marks in `user.overlay.*` instead of `trusted.overlay.*`.
        userxattr: bool,
    },
}

/// A mount's flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// Nothing can be written.
    pub readonly: bool,
    /// Device nodes cannot be opened.
    pub nodev: bool,
    /// Set-id bits and file capabilities have no effect.
    pub nosuid: bool,
}

impl MountFlags {
    /// For looking at a tree: read-only, and neither devices nor set-id programs work.
    pub const VIEW: MountFlags = MountFlags { readonly: true, nodev: true, nosuid: true };

    fn attributes(self) -> MountAttrFlags {
        let mut attributes = MountAttrFlags::empty();
        attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.readonly);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.nodev);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.nosuid);
        attributes
    }
}

/// Clones the mount at a host path, or with `recursive` the whole tree of mounts there, detached (open_tree, Linux 5.2).
/// Links in `path` are followed.
pub fn open_tree_clone(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, path, clone_flags(recursive))?)
}

/// As [`open_tree_clone`], of the file or directory that `fd` (O_PATH is fine) refers to. Before Linux 6.15 `fd` must not itself be
/// on a detached mount (EINVAL).
pub fn open_tree_clone_fd(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    Ok(open_tree(fd, c"", clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)?)
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// Adds flags to a mount, or with `recursive` to all mounts of the tree (mount_setattr, Linux 5.12).
pub fn set_flags(mount: BorrowedFd<'_>, flags: MountFlags, recursive: bool) -> io::Result<()> {
    let set = u64::from(flags.attributes().bits());
    sys::mount_setattr(mount, recursive, &sys::MountAttributes { set, ..Default::default() })
}

/// Makes a mount read-only, or with `recursive` the whole tree.
pub fn set_readonly(mount: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    set_flags(mount, MountFlags { readonly: true, ..MountFlags::default() }, recursive)
}

/// Makes a mount, or with `recursive` the whole tree, private: neither sends nor receives mount events.
pub fn set_private(mount: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let propagation = libc::MS_PRIVATE;
    sys::mount_setattr(mount, recursive, &sys::MountAttributes { propagation, ..Default::default() })
}

/// Attaches a detached mount on the directory or file `at` in this mount namespace (move_mount).
pub fn attach(mount: BorrowedFd<'_>, at: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", at, c"", flags)?)
}

/// What an overlay is made of.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// Lower directories, the uppermost first; 500 at most. Without `upper` at least two (EINVAL).
    pub lower: &'a [BorrowedFd<'a>],
    /// The writable directory and overlay's own working directory beside it, which must never have served another mount.
    pub upper: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// Whether overlay keeps its marks in `user.overlay.*`.
    pub userxattr: bool,
    /// The mount's flags.
    pub flags: MountFlags,
}

/// Makes a detached overlay with `redirect_dir=nofollow,index=off,metacopy=off`. Needs Linux 6.8 (`lowerdir+`; EINVAL before).
/// Descriptors may be O_PATH; before Linux 6.13 `/proc` must be mounted.
pub fn overlay(recipe: &Overlay<'_>) -> io::Result<OwnedFd> {
    let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [(c"redirect_dir", c"nofollow"), (c"index", c"off"), (c"metacopy", c"off")] {
        fsconfig_set_string(&overlay, key, value)?;
    }
    if recipe.userxattr {
        fsconfig_set_flag(&overlay, c"userxattr")?;
    }
    for lower in recipe.lower {
        set_layer(overlay.as_fd(), c"lowerdir+", *lower)?;
    }
    if let Some((upper, work)) = recipe.upper {
        set_layer(overlay.as_fd(), c"upperdir", upper)?;
        set_layer(overlay.as_fd(), c"workdir", work)?;
    }
    fsconfig_create(&overlay)?;
    Ok(fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, recipe.flags.attributes())?)
}

/// By descriptor (Linux 6.13), else by a path through /proc, which stays below the 255 bytes that a string may have.
fn set_layer(overlay: BorrowedFd<'_>, key: &CStr, layer: BorrowedFd<'_>) -> io::Result<()> {
    match fsconfig_set_fd(overlay, key, layer) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) => set_layer_by_proc(overlay, key, layer),
        done => Ok(done?),
    }
}

fn set_layer_by_proc(overlay: BorrowedFd<'_>, key: &CStr, layer: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fsconfig_set_string(overlay, key, format!("/proc/self/fd/{}", layer.as_raw_fd()))?)
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;
