//! The mounts that every sandbox has: /proc, /sys, /dev and below, with docker's masked and read-only paths (spec §4.11, §6.3).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::child::mounts::{Filesystem, attach, clone_of};
use crate::child::tree::Tree;
use crate::child::{cgroups, devices, rooted};
use crate::error::{ExecutorError, Step};
use crate::sys::mount::{Change, set_attributes};

/// docker's default of `--shm-size`, bytes.
const SHM_BYTES: u64 = 64 << 20;

const MASKED_PROC: [&str; 10] =
    ["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"];
const MASKED_SYS: [&str; 2] = ["devices/virtual/powercap", "firmware"];
const READONLY_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Where the command's devices are.
#[derive(Debug)]
pub(super) struct Devices {
    /// The root of /dev.
    pub(super) dev: OwnedFd,
    /// The root of /dev/pts.
    pub(super) terminals: OwnedFd,
}

/// Attaches them all.
pub(super) fn mount(tree: &mut Tree, privileged: bool, shm_size: u64) -> Result<Devices, ExecutorError> {
    let nothing_special =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let guarded = if privileged { nothing_special } else { nothing_special | MountAttrFlags::MOUNT_ATTR_RDONLY };
    let proc = Filesystem::new("proc", nothing_special).private_mount()?;
    tree.attach(proc.as_fd(), Path::new("/proc"))?;
    let sys = Filesystem::new("sysfs", guarded).private_mount()?;
    tree.attach(sys.as_fd(), Path::new("/sys"))?;
    cgroups::mount(sys.as_fd(), guarded)?;
    let devices = mount_devices(tree, privileged, if shm_size == 0 { SHM_BYTES } else { shm_size })?;
    if !privileged {
        for name in MASKED_PROC {
            mask(tree, proc.as_fd(), Path::new(name), &devices)?;
        }
        for name in MASKED_SYS {
            mask(tree, sys.as_fd(), Path::new(name), &devices)?;
        }
        mask_thermal_throttle(tree, sys.as_fd(), &devices)?;
        for name in READONLY_PROC {
            make_readonly(proc.as_fd(), Path::new(name))?;
        }
    }
    Ok(devices)
}

fn mount_devices(tree: &mut Tree, privileged: bool, shm_size: u64) -> Result<Devices, ExecutorError> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = Filesystem::new("tmpfs", MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME)
        .option("mode", "755")
        .option("size", "65536k")
        .private_mount()?;
    tree.attach(dev.as_fd(), Path::new("/dev"))?;
    devices::make(dev.as_fd(), privileged)?;
    if !privileged {
        devices::keep_only_own(dev.as_fd()).step(|| "keep the devices of `/dev`")?;
    }
    let terminals = Filesystem::new("devpts", quiet)
        .flag("newinstance")
        .option("ptmxmode", "0666")
        .option("mode", "0620")
        .option("gid", "5")
        .private_mount()?;
    let queues = Filesystem::new("mqueue", quiet | MountAttrFlags::MOUNT_ATTR_NODEV).private_mount()?;
    let memory = Filesystem::tmpfs(Some(shm_size), 0o1777).private_mount()?;
    for (name, mount) in [("pts", &terminals), ("mqueue", &queues), ("shm", &memory)] {
        let step = || format!("mount on `/dev/{name}`");
        let point = devices::directory(dev.as_fd(), name).step(step)?;
        attach(mount.as_fd(), point.as_fd()).step(step)?;
    }
    Ok(Devices { dev, terminals })
}

/// One directory for each cpu that reports it.
fn mask_thermal_throttle(tree: &Tree, sys: BorrowedFd<'_>, devices: &Devices) -> Result<(), ExecutorError> {
    for cpu in 0_u32.. {
        let path = format!("devices/system/cpu/cpu{cpu}/thermal_throttle");
        if !mask(tree, sys, Path::new(&path), devices)? {
            break;
        }
    }
    Ok(())
}

/// Covers a file with /dev/null and a directory with an empty one; false when there is nothing to cover.
fn mask(tree: &Tree, filesystem: BorrowedFd<'_>, path: &Path, devices: &Devices) -> Result<bool, ExecutorError> {
    let step = || format!("mask `{}`", path.display());
    let Some(target) = open_if_there(filesystem, path).step(step)? else { return Ok(false) };
    let cover = if rooted::file_type(target.as_fd()).step(step)? == FileType::Directory {
        tree.empty_directory()?
    } else {
        clone_of(&devices.dev, Path::new("null"), false).step(step)?
    };
    attach(cover.as_fd(), target.as_fd()).step(step)?;
    Ok(true)
}

/// Covers a path with a read-only mount of itself.
fn make_readonly(filesystem: BorrowedFd<'_>, path: &Path) -> Result<(), ExecutorError> {
    let step = || format!("make `/proc/{}` read-only", path.display());
    let Some(target) = open_if_there(filesystem, path).step(step)? else { return Ok(()) };
    let cover = clone_of(filesystem, path, true).step(step)?;
    set_attributes(cover.as_fd(), Change::ReadOnly, true).step(step)?;
    attach(cover.as_fd(), target.as_fd()).step(step)
}

/// `path` is one of the kernel's own, without links.
fn open_if_there(filesystem: BorrowedFd<'_>, path: &Path) -> std::io::Result<Option<OwnedFd>> {
    match openat(filesystem, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}
