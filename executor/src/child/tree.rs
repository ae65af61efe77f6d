//! The mount tree of the sandbox while it is made: a scratch file system over the host's `/`, the new root on a directory of it.
//!
//! ```text
//! /                the host's tree, a slave copy; leaves at pivot_root with everything on it
//! └─ scratch       tmpfs on top of it: files to be mounted, an empty directory for masks
//!    └─ root       the sandbox's root, and on it proc, sys, dev, the caller's mounts
//! ```

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, mkdirat, openat};
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount_change, open_tree, unmount};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::child::mounts::{self, Filesystem, attach, clone_of};
use crate::child::rooted::{self, Leaf};
use crate::error::{ExecutorError, Step};
use crate::sys::mount::{Change, set_attributes};
use crate::wire::{Luggage, Stub, WireMount};

/// `/` with all that is mounted on it.
const ABOVE: &str = "/..";

/// Mounts that can be on top of `/`.
const MAX_STACKED: u32 = 100;

/// A sandbox's mounts before pivot_root.
#[derive(Debug)]
pub(super) struct Tree {
    scratch: OwnedFd,
    root: OwnedFd,
    stubs: Vec<Stub>,
    files: u32,
}

impl Tree {
    /// Cuts this mount namespace off the host's and attaches the root. Without `devices`, no device node in the root can be opened.
    pub(super) fn enter(root: WireMount, luggage: &mut Luggage, devices: bool) -> Result<Tree, ExecutorError> {
        // A slave still sees the host's unmounts, so that a mount that the host wants to be rid of is not held here meanwhile.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", slave).step(|| "separate its mounts from the host's")?;
        let root = mounts::detached(root, luggage)?;
        if !devices {
            mounts::disable_devices(root.as_fd())?;
        }
        let scratch = Filesystem::tmpfs(None, 0o700).private_mount()?;
        let host = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).step(|| "open `/`")?;
        attach(scratch.as_fd(), host.as_fd()).step(|| "attach its scratch space")?;
        for directory in ["root", "empty"] {
            mkdirat(&scratch, directory, Mode::from_raw_mode(0o755)).step(|| "create a directory in its scratch space")?;
        }
        let place = openat(&scratch, "root", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step(|| "open its scratch space")?;
        attach(root.as_fd(), place.as_fd()).step(|| "attach its root")?;
        Ok(Tree { scratch, root, stubs: Vec::new(), files: 0 })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Mount points made so far; each is given once.
    pub(super) fn take_stubs(&mut self) -> Vec<Stub> {
        std::mem::take(&mut self.stubs)
    }

    /// Attaches a mount at `target` beneath the root; makes a mount point of the mount's own kind where there is none.
    pub(super) fn attach(&mut self, mount: BorrowedFd<'_>, target: &Path) -> Result<(), ExecutorError> {
        let step = || format!("mount on `{}`", target.display());
        let is_directory = rooted::file_type(mount).step(step)? == FileType::Directory;
        let leaf = if is_directory { Leaf::Directory } else { Leaf::File };
        let point = rooted::ensure(self.root.as_fd(), target, leaf, None, &mut self.stubs);
        let point = point.step(|| format!("create the mount point `{}`", target.display()))?;
        attach(mount, point.as_fd()).step(step)
    }

    /// A mount of a new file with this content and owner.
    pub(super) fn file(&mut self, content: &[u8], mode: u32, uid: u32, gid: u32) -> Result<OwnedFd, ExecutorError> {
        let name = format!("file{}", self.files);
        self.files += 1;
        let make = || -> io::Result<OwnedFd> {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(&self.scratch, &name, flags, Mode::from_raw_mode(mode))?;
            fs::File::from_parts(std::fs::File::from(file), &name).write_all(content)?;
            chownat(&self.scratch, &name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::empty())?;
            clone_of(&self.scratch, Path::new(&name), false)
        };
        make().step(|| "create a file to be mounted")
    }

    /// A mount of what `path` names in a mount that hangs nowhere. Such a mount cannot be cloned in part before Linux 6.15, so it gets a
    /// place in the scratch space, with which it leaves.
    pub(super) fn part(&mut self, whole: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, ExecutorError> {
        let name = format!("part{}", self.files);
        self.files += 1;
        let make = || -> io::Result<OwnedFd> {
            mkdirat(&self.scratch, &name, Mode::from_raw_mode(0o700))?;
            attach(whole, openat(&self.scratch, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.as_fd())?;
            let part = rooted::open(whole, path, OFlags::PATH)?;
            let mount = open_tree(
                &part,
                "",
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH,
            )?;
            set_attributes(mount.as_fd(), Change::Private, false)?;
            Ok(mount)
        };
        make().step(|| format!("mount `{}` of another file system", path.display()))
    }

    /// A read-only mount of an empty directory.
    pub(super) fn empty_directory(&self) -> Result<OwnedFd, ExecutorError> {
        let make = || -> io::Result<OwnedFd> {
            let mount = clone_of(&self.scratch, Path::new("empty"), false)?;
            set_attributes(mount.as_fd(), Change::ReadOnly, false)?;
            Ok(mount)
        };
        make().step(|| "mount an empty directory")
    }

    /// Makes the root `/` and lets go of everything of the host's.
    pub(super) fn pivot(&self) -> Result<(), ExecutorError> {
        fchdir(&self.root).step(|| "enter its root")?;
        // With the same directory twice the old root ends up on top of the new one (pivot_root(2)), where it can be detached.
        pivot_root(".", ".").step(|| "make its root `/`")?;
        self.uncover().step(|| "let go of the host's root")?;
        chdir("/").step(|| "enter its root")
    }

    /// Detaches what is stacked on `/`: the scratch space, the host's root, and what the host may have had there. Nothing else tells how
    /// many there are, and one that stayed would be a way out. `/..` is `/` as seen from above: it ends on the topmost mount.
    fn uncover(&self) -> io::Result<()> {
        let own = rooted::mount_id(self.root(), Path::new(""))?;
        for _ in 0..MAX_STACKED {
            if rooted::mount_id(self.root(), Path::new(ABOVE))? == own {
                return Ok(());
            }
            unmount(ABOVE, UnmountFlags::DETACH)?;
        }
        Err(io::Error::from(rustix::io::Errno::LOOP))
    }
}
