//! The program that children run, protected from them: a child that finds a way to open /proc/PID/exe of its supervisor must not be able
//! to write to it (CVE-2019-5736).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{CWD, MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::sys::mount::{Change, set_attributes};

/// This process's own program.
const OWN: &str = "/proc/self/exe";

/// An open, unwritable program.
#[derive(Debug)]
pub(crate) struct Binary {
    descriptor: OwnedFd,
}

impl Binary {
    /// `None` is this process's own.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Binary> {
        let path = path.unwrap_or(Path::new(OWN));
        // A mount costs microseconds, but not everybody may make one.
        let descriptor = read_only_mount(path).or_else(|_| sealed_copy(path))?;
        Ok(Binary { descriptor })
    }

    /// For exec in a process that has a copy of this one's descriptors.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()))
    }
}

fn read_only_mount(path: &Path) -> io::Result<OwnedFd> {
    let mount = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    set_attributes(mount.as_fd(), Change::ReadOnly, false)?;
    Ok(mount)
}

fn sealed_copy(path: &Path) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match memfd_create("rbuild", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every memory file can be executed.
        Err(Errno::INVAL) => memfd_create("rbuild", flags)?,
        created => created?,
    };
    let mut copy = fs::File::from_parts(std::fs::File::from(fd), "rbuild");
    io::copy(&mut fs::File::open(path)?, &mut copy)?;
    let (copy, _) = copy.into_parts();
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[track_caller]
    fn check(open: fn(&Path) -> io::Result<OwnedFd>) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        // In another process, or a child of another test could inherit the writer (ETXTBSY).
        assert!(Command::new("/bin/cp").args([Path::new("/bin/busybox"), &program]).status().unwrap().success());
        let binary = Binary { descriptor: open(&program).unwrap() };
        let output = Command::new(binary.path()).arg0("echo").arg("ran").output().unwrap();
        assert_eq!(output.stdout, b"ran\n");
        let write =
            rustix::fs::openat(binary.descriptor.as_fd(), binary.path(), rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty());
        // A sealed file can be opened, not written.
        assert!(write.is_err() || rustix::io::write(write.unwrap(), b"x").is_err());
    }

    #[test]
    fn a_read_only_mount_runs_and_cannot_be_written() {
        check(read_only_mount);
    }

    #[test]
    fn a_sealed_copy_runs_and_cannot_be_written() {
        check(sealed_copy);
    }

    #[test]
    fn own_program() {
        assert!(Binary::open(None).is_ok());
    }
}
