//! One overlay mount, attached nowhere.
//!
//! The options are `redirect_dir=nofollow,index=off,metacopy=off`: `off` for redirects means "follow" on many kernels, and conflicts with
//! `userxattr`. Layers are given by path, one by one (`lowerdir+`, Linux 6.8), so that 500 of them need no 500 descriptors; a path that is
//! too long for fsconfig(2) (255 bytes) goes through a descriptor. Writable mounts are `volatile`: nothing is synced for a process
//! that asks, because a result only counts as durable after the store has synced the whole file system.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Result, SnapshotError};
use crate::xattrs::Flavour;

/// Layers of one overlay.
pub(crate) struct OverlayMount<'a> {
    pub(crate) flavour: Flavour,
    /// The uppermost first. At least one; at least two when there is no upper directory.
    pub(crate) lower: &'a [PathBuf],
    /// Upper and work directory; the work directory must be fresh (a volatile mount leaves a mark that refuses the next one).
    pub(crate) upper: Option<(&'a Path, &'a Path)>,
}

impl OverlayMount<'_> {
    /// Makes the mount; closing the descriptor ends it.
    pub(crate) fn mount(&self) -> Result<OwnedFd> {
        let context =
            rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|source| failed(None, source.into()))?;
        self.configure(context.as_fd()).map_err(|source| failed(Some(context.as_fd()), source))
    }

    fn configure(&self, context: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        for (key, value) in [("source", "rbuild"), ("redirect_dir", "nofollow"), ("index", "off"), ("metacopy", "off")] {
            rustix::mount::fsconfig_set_string(context, key, value)?;
        }
        if self.flavour == Flavour::User {
            rustix::mount::fsconfig_set_flag(context, "userxattr")?;
        }
        for lower in self.lower {
            set_layer(context, "lowerdir+", lower)?;
        }
        let mut attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
        if let Some((upper, work)) = self.upper {
            set_layer(context, "upperdir", upper)?;
            set_layer(context, "workdir", work)?;
            rustix::mount::fsconfig_set_flag(context, "volatile")?;
            attributes = MountAttrFlags::empty();
        }
        rustix::mount::fsconfig_create(context)?;
        Ok(rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    }
}

/// Overlay resolves the path at once, so the descriptor may go afterwards. A backslash would escape in `upperdir` and `workdir`.
fn set_layer(context: BorrowedFd<'_>, key: &str, path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() < 255 && !bytes.contains(&b'\\') {
        return Ok(rustix::mount::fsconfig_set_string(context, key, path)?);
    }
    let layer = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::mount::fsconfig_set_string(context, key, format!("/proc/self/fd/{}", layer.as_raw_fd()))?)
}

/// Adds what the kernel says in words: each read of the context gives one message.
fn failed(context: Option<BorrowedFd<'_>>, source: io::Error) -> SnapshotError {
    let mut log = String::new();
    if let Some(context) = context {
        let mut message = [0u8; 1024];
        while let Ok(length) = rustix::io::read(context, &mut message) {
            if length == 0 || log.len() > 4096 {
                break;
            }
            log.push_str(": ");
            log.push_str(String::from_utf8_lossy(&message[..length]).trim_start_matches(['e', 'w', 'i', ' ']).trim_end());
        }
    }
    SnapshotError::Mount { what: "an overlay", log, source }
}
