//! Mounts that hang nowhere yet, and how they get a place.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree, unmount,
};
use rustix::process::chdir;

use crate::child::rooted;
use crate::error::{ExecutorError, Step};
use crate::sys::mount::{Change, set_attributes};
use crate::wire::{Luggage, WireMount};

/// A file system to be mounted: its type, options (a value or a flag) and mount attributes.
#[derive(Clone, Debug)]
pub(super) struct Filesystem {
    pub(super) kind: &'static str,
    pub(super) options: Vec<(String, Option<String>)>,
    pub(super) attributes: MountAttrFlags,
}

impl Filesystem {
    pub(super) fn new(kind: &'static str, attributes: MountAttrFlags) -> Filesystem {
        Filesystem { kind, options: Vec::new(), attributes }
    }

    /// Memory with docker's flags for `--tmpfs`.
    pub(super) fn tmpfs(size: Option<u64>, mode: u32) -> Filesystem {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let tmpfs = Filesystem::new("tmpfs", attributes).option("mode", format!("{mode:o}"));
        match size {
            Some(size) => tmpfs.option("size", size.to_string()),
            None => tmpfs,
        }
    }

    pub(super) fn option(mut self, key: &str, value: impl Into<String>) -> Filesystem {
        self.options.push((key.to_owned(), Some(value.into())));
        self
    }

    pub(super) fn flag(mut self, key: &str) -> Filesystem {
        self.options.push((key.to_owned(), None));
        self
    }

    /// A new mount of it that hangs nowhere. It is private, as every mount from fsmount(2) is.
    pub(super) fn private_mount(&self) -> Result<OwnedFd, ExecutorError> {
        self.mount().step(|| format!("mount a {} file system", self.kind))
    }

    fn mount(&self) -> io::Result<OwnedFd> {
        let context = fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        // What mount(8) shows first.
        fsconfig_set_string(&context, "source", self.kind)?;
        for (key, value) in &self.options {
            match value {
                Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str())?,
                None => fsconfig_set_flag(&context, key.as_str())?,
            }
        }
        fsconfig_create(&context)?;
        Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes)?)
    }
}

/// A mount that rbuild prepared. Made private: a clone of a shared mount would carry what is mounted on it back to the host.
pub(super) fn detached(source: WireMount, luggage: &mut Luggage) -> Result<OwnedFd, ExecutorError> {
    let mount = match source {
        WireMount::Descriptor(index) => luggage.take(index)?,
        WireMount::Overlay { base, lower, upper, work, userxattr } => {
            let base = PathBuf::from(base);
            let options = overlay_options(&lower, upper.as_deref(), work.as_deref(), userxattr);
            mount_overlay(&base, &options).step(|| format!("mount the overlay of `{}`", base.display()))?
        }
    };
    set_attributes(mount.as_fd(), Change::Private, true).step(|| "make a mount private")?;
    Ok(mount)
}

/// A clone of what the host has at an absolute path, with the mounts below it.
pub(super) fn host_path(path: &Path) -> Result<OwnedFd, ExecutorError> {
    let clone = || -> io::Result<OwnedFd> {
        if !path.is_absolute() {
            return Err(io::Error::from(rustix::io::Errno::INVAL));
        }
        let mount = clone_of(CWD, path, true)?;
        set_attributes(mount.as_fd(), Change::Private, true)?;
        Ok(mount)
    };
    clone().step(|| format!("mount the host path `{}`", path.display()))
}

/// A command may make device nodes (CAP_MKNOD), and no device cgroup keeps it from the host's disks: nothing that it makes can be
/// opened. A mount that is a device itself was given on purpose.
pub(super) fn disable_devices(mount: BorrowedFd<'_>) -> Result<(), ExecutorError> {
    let disable = || -> io::Result<()> {
        if rooted::file_type(mount)? == FileType::Directory {
            set_attributes(mount, Change::NoDevices, true)?;
        }
        Ok(())
    };
    disable().step(|| "disable devices on a mount")
}

/// A second mount of what is at `path`, which must be attached in this namespace; hangs nowhere.
pub(super) fn clone_of(directory: impl AsFd, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(directory, path, flags)?)
}

/// Attaches a mount to the file or directory that is open as `target`: no path is resolved, so nothing can lead elsewhere.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Paths in the options are relative to the base, because mount(2) takes only a page of them.
fn overlay_options(lower: &[String], upper: Option<&str>, work: Option<&str>, userxattr: bool) -> String {
    // `off` would mean to follow, on kernels that always do, and conflict with userxattr.
    let mut options = format!("lowerdir={},redirect_dir=nofollow,index=off,metacopy=off", lower.join(":"));
    if let (Some(upper), Some(work)) = (upper, work) {
        options.push_str(&format!(",upperdir={upper},workdir={work}"));
    }
    if userxattr {
        options.push_str(",userxattr");
    }
    options
}

/// Mounts on the base itself, takes a clone of that, and leaves the base as it was.
fn mount_overlay(base: &Path, options: &str) -> io::Result<OwnedFd> {
    let options = CString::new(options)?;
    chdir(base)?;
    mount("overlay", ".", "overlay", MountFlags::empty(), options.as_c_str())?;
    let clone = clone_of(CWD, base, false);
    unmount(base.as_os_str().as_bytes(), UnmountFlags::DETACH)?;
    chdir("/")?;
    clone
}
