//! One sandboxed process: namespaces, mounts, capabilities, a user, its streams and its end. Knows no images, caches or graphs.
//!
//! SEAM: signatures agreed on; bodies and the split into files are the executor's own work.
#![allow(missing_docs, clippy::todo, unused_variables, reason = "seam")]

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rbuild_fs::MountSource;

/// To be called first in `main`, before any thread: when this process is a sandbox child, becomes it and never returns.
pub fn run_child_if_asked() { todo!() }

/// Starts sandboxes. One for a process; owns the permanent thread that spawns children and the sealed clone of the binary.
#[derive(Clone)]
pub struct Executor { _inner: () }

impl Executor {
    /// `exe`: the program that calls `run_child_if_asked`: `None` is this one (/proc/self/exe).
    pub fn new(exe: Option<PathBuf>) -> Result<Executor, ExecutorError> { Ok(Executor { _inner: () }) }
    pub fn spawn(&self, spec: Spec, stdio: Stdio) -> impl Future<Output = Result<Process, ExecutorError>> + Send { async { todo!() } }
}

pub struct Spec {
    pub root: MountSource,
    pub readonly_root: bool,
    pub args: Vec<String>,
    /// Complete, in order; HOME is added from passwd when absent.
    pub env: Vec<String>,
    /// Made when it does not exist (as docker run does), owned by the user.
    pub cwd: String,
    /// `user[:group]`, resolved in the root's /etc/passwd and /etc/group by the rules of spec G-22.
    pub user: String,
    pub hostname: String,
    pub network: Network,
    /// After the standard mounts (proc, sys, dev, shm, mqueue), in order; mount points are made and, with `clean_stubs`, removed after.
    pub mounts: Vec<BindMount>,
    pub clean_stubs: bool,
    /// Content of /etc/hosts and /etc/resolv.conf, mounted read-only; `None` leaves the root's own.
    pub hosts: Option<String>,
    pub resolv_conf: Option<String>,
    pub privileged: bool,
    pub shm_size: u64,
    /// (name, soft, hard); -1 is unlimited
    pub ulimits: Vec<(String, i64, i64)>,
}

pub struct BindMount { pub source: BindSource, pub target: PathBuf, pub readonly: bool }
pub enum BindSource { Mount(MountSource), /** a host path */ Path(PathBuf), Tmpfs { size: Option<u64>, mode: u32 }, /** a small file with this content */ File { content: Vec<u8>, mode: u32, uid: u32, gid: u32 } }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network { Host, /** a new namespace with loopback up */ None }

pub enum Stdio {
    /// stdin is /dev/null; output comes in chunks with a byte budget of memory (back-pressure).
    Piped,
    /// The caller's three descriptors.
    Inherit { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    /// A new terminal in the sandbox; its master comes back in the Process.
    Terminal { rows: u16, columns: u16 },
}

/// A running sandbox. Dropping it kills every process in it and waits for nothing.
pub struct Process { _inner: () }
impl Process {
    /// Pid of the command in the host's pid namespace.
    pub fn pid(&self) -> u32 { todo!() }
    /// Next output of a `Piped` process; `None` at the end of both streams.
    pub async fn output(&mut self) -> Option<Chunk> { todo!() }
    pub fn terminal(&mut self) -> Option<OwnedFd> { todo!() }
    pub fn signal(&self, signal: i32) -> Result<(), ExecutorError> { todo!() }
    /// Waits for the end; all processes of the sandbox are gone and its mounts with them.
    pub async fn wait(&mut self) -> Result<Exit, ExecutorError> { todo!() }
    /// SIGKILL to all, then as `wait`.
    pub async fn kill(&mut self) -> Result<Exit, ExecutorError> { todo!() }
}
pub struct Chunk { pub stderr: bool, pub bytes: Vec<u8> }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit { pub status: ExitStatus, /** the kernel's OOM killer ended it */ pub oom: bool }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus { Code(i32), Signal(i32) }

#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// `unable to find user X: no matching entries in passwd file`
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// docker: 127
    #[error("exec: `{0}`: executable file not found in $PATH")]
    NotFound(String),
    /// docker: 126
    #[error("exec: `{program}`: cannot be executed")]
    NotExecutable { program: String, #[source] source: std::io::Error },
    #[error("sandbox could not {step}")]
    Setup { step: String, #[source] source: std::io::Error },
}
