//! /sys/fs/cgroup: what the host has (version 2, version 1, or both), seen from the sandbox's own cgroup namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use fs_err as fs;
use rustix::fs::{Mode, OFlags, openat, symlinkat};
use rustix::mount::MountAttrFlags;

use crate::child::devices;
use crate::child::mounts::{Filesystem, attach};
use crate::error::{ExecutorError, Step};
use crate::sys::mount::{Change, set_attributes};

/// One line of /proc/self/cgroup.
#[derive(Debug, PartialEq, Eq)]
enum Hierarchy {
    /// The one of version 2.
    Unified,
    /// Version 1, with controllers: `cpu,cpuacct`.
    Controllers(String),
    /// Version 1, without controllers: `name=systemd`.
    Named(String),
}

/// Mounts what there is. A hierarchy that cannot be mounted is left out: it informs, nothing depends on it.
pub(super) fn mount(sys: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<(), ExecutorError> {
    let Ok(text) = fs::read_to_string("/proc/self/cgroup") else { return Ok(()) };
    let hierarchies = parse(&text);
    let Ok(point) =
        openat(sys, "fs/cgroup", OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    else {
        return Ok(());
    };
    if hierarchies == [Hierarchy::Unified] {
        if let Ok(mount) = filesystem(&Hierarchy::Unified, attributes).private_mount() {
            attach(mount.as_fd(), point.as_fd()).step(|| "mount on `/sys/fs/cgroup`")?;
        }
        return Ok(());
    }
    let directory = Filesystem::tmpfs(None, 0o755).private_mount()?;
    attach(directory.as_fd(), point.as_fd()).step(|| "mount on `/sys/fs/cgroup`")?;
    for hierarchy in &hierarchies {
        let Ok(mount) = filesystem(hierarchy, attributes).private_mount() else { continue };
        attach_hierarchy(directory.as_fd(), hierarchy, mount.as_fd()).step(|| "mount below `/sys/fs/cgroup`")?;
    }
    if attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
        set_attributes(directory.as_fd(), Change::ReadOnly, false).step(|| "make `/sys/fs/cgroup` read-only")?;
    }
    Ok(())
}

fn attach_hierarchy(directory: BorrowedFd<'_>, hierarchy: &Hierarchy, mount: BorrowedFd<'_>) -> io::Result<()> {
    let name = match hierarchy {
        Hierarchy::Unified => "unified",
        Hierarchy::Controllers(name) | Hierarchy::Named(name) => name,
    };
    attach(mount, devices::directory(directory, name)?.as_fd())?;
    if name.contains(',') {
        for controller in name.split(',') {
            symlinkat(name, directory, controller)?;
        }
    }
    Ok(())
}

fn filesystem(hierarchy: &Hierarchy, attributes: MountAttrFlags) -> Filesystem {
    match hierarchy {
        Hierarchy::Unified => Filesystem::new("cgroup2", attributes),
        Hierarchy::Controllers(names) => {
            names.split(',').fold(Filesystem::new("cgroup", attributes), |filesystem, name| filesystem.flag(name))
        }
        Hierarchy::Named(name) => Filesystem::new("cgroup", attributes).flag("none").option("name", name),
    }
}

/// Lines are `id:controllers:path`. Names become directories, so a name with a slash is no hierarchy of ours.
fn parse(text: &str) -> Vec<Hierarchy> {
    let fields = text.lines().filter_map(|line| line.split(':').nth(1));
    fields
        .filter(|names| !Path::new(names).is_absolute() && !names.contains('/'))
        .map(|names| match names.strip_prefix("name=") {
            Some(name) => Hierarchy::Named(name.to_owned()),
            None if names.is_empty() => Hierarchy::Unified,
            None => Hierarchy::Controllers(names.to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies() {
        assert_eq!(parse("0::/user.slice\n"), [Hierarchy::Unified]);
        let hybrid = parse("9:name=systemd:/\n4:cpu,cpuacct:/a\n0::/\n");
        let expected =
            [Hierarchy::Named("systemd".to_owned()), Hierarchy::Controllers("cpu,cpuacct".to_owned()), Hierarchy::Unified];
        assert_eq!(hybrid, expected);
        assert_eq!(parse(""), []);
    }
}
