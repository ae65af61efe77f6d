//! What to run and in which surroundings.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rbuild_fs::MountSource;

/// One command and its sandbox.
#[derive(Debug)]
pub struct Spec {
    /// Becomes `/`.
    pub root: MountSource,
    /// Nothing can be written to the root itself; mounts on it keep their own mode.
    pub readonly_root: bool,
    /// The program and its arguments. A name without `/` is looked up in the last `PATH` of `env`, inside the root.
    pub args: Vec<String>,
    /// Complete, in order, as `NAME=value`; HOME is added from passwd when absent.
    pub env: Vec<String>,
    /// Beneath the root; empty is `/`. Made when it does not exist (as docker run does), owned by the user.
    pub cwd: String,
    /// `user[:group]`, resolved in the root's /etc/passwd and /etc/group by the rules of spec G-22; empty is uid 0.
    pub user: String,
    /// Empty keeps the host's.
    pub hostname: String,
    /// Which interfaces there are.
    pub network: Network,
    /// After the standard mounts (proc, sys, dev, shm, mqueue), in order; mount points are made and, with `clean_stubs`, removed after.
    pub mounts: Vec<BindMount>,
    /// Removes, when the command has ended, the mount points that had to be made in the root and are still empty (spec G-61).
    pub clean_stubs: bool,
    /// Content of /etc/hosts, mounted read-only; `None` leaves the root's own.
    pub hosts: Option<String>,
    /// Content of /etc/resolv.conf, mounted read-only; `None` leaves the root's own.
    pub resolv_conf: Option<String>,
    /// All of this process's capabilities, nothing masked, /sys writable, the host's devices.
    pub privileged: bool,
    /// Bytes of /dev/shm; 0 is docker's 64 MiB.
    pub shm_size: u64,
    /// (docker's name, soft, hard); -1 is unlimited.
    pub ulimits: Vec<(String, i64, i64)>,
}

/// Something mounted on the root.
#[derive(Debug)]
pub struct BindMount {
    /// What is mounted.
    pub source: BindSource,
    /// Where, beneath the root; links are followed inside the root.
    pub target: PathBuf,
    /// Nothing can be written through it.
    pub readonly: bool,
}

/// What can be mounted.
#[derive(Debug)]
pub enum BindSource {
    /// A mount that somebody prepared.
    Mount(MountSource),
    /// A file or directory of such a mount.
    Part {
        /// The mount.
        mount: MountSource,
        /// Beneath its root; links are followed inside it.
        path: PathBuf,
    },
    /// An absolute host path, with the mounts below it.
    Path(PathBuf),
    /// A new, empty memory file system (nosuid, nodev, noexec).
    Tmpfs {
        /// Bytes; `None` is the kernel's half of the memory (spec G-75).
        size: Option<u64>,
        /// Of its root directory.
        mode: u32,
    },
    /// A small file with this content.
    File {
        /// All of it.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Network interfaces of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// A new namespace with loopback up (spec G-69).
    None,
}

/// Where a command's three streams lead.
#[derive(Debug)]
pub enum Stdio {
    /// stdin is /dev/null; output comes in chunks with a byte budget of memory (back-pressure).
    Piped,
    /// The caller's three descriptors. Pipes among them come to belong to the user, who could not open /dev/stdout otherwise.
    Inherit {
        /// Descriptor 0 of the command.
        stdin: OwnedFd,
        /// Descriptor 1 of the command.
        stdout: OwnedFd,
        /// Descriptor 2 of the command.
        stderr: OwnedFd,
    },
    /// A new terminal in the sandbox; its master comes back in the Process.
    Terminal {
        /// Height in characters.
        rows: u16,
        /// Width in characters.
        columns: u16,
    },
}
