//! Starts sandboxes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::unix::AsyncFd;

use crate::binary::Binary;
use crate::child::supervisor;
use crate::error::{ExecutorError, Step};
use crate::oom::KillCounter;
use crate::output::Output;
use crate::process::{Process, Supervisor};
use crate::spawner::Spawner;
use crate::spec::{Spec, Stdio};
use crate::sys::readiness::watch;
use crate::wire::{self, CHILD_NAME, ChildStdio};

/// To be called first in `main`, before any thread: when this process is a sandbox child, becomes it and never returns.
pub fn run_child_if_asked() {
    if std::env::args_os().next().is_some_and(|name| name == CHILD_NAME) {
        supervisor::run();
    }
}

/// Starts sandboxes. One for a process; owns the permanent thread that spawns children and the read-only clone of the binary.
#[derive(Clone, Debug)]
pub struct Executor {
    spawner: Arc<Spawner>,
}

impl Executor {
    /// `exe`: the program that calls [`run_child_if_asked`]: `None` is this one (/proc/self/exe).
    pub fn new(exe: Option<PathBuf>) -> Result<Executor, ExecutorError> {
        let binary = Binary::open(exe.as_deref()).step(|| "open its own program")?;
        let spawner = Spawner::start(binary).step(|| "start the thread that spawns")?;
        Ok(Executor { spawner: Arc::new(spawner) })
    }

    /// Starts the command; ready when it has been executed. Needs a tokio runtime with I/O.
    ///
    /// When it fails, nothing of the sandbox is left. When the future is dropped, the sandbox ends by itself.
    pub async fn spawn(&self, spec: Spec, stdio: Stdio) -> Result<Process, ExecutorError> {
        let (stdio, output, terminal) = prepare(stdio).step(|| "create pipes")?;
        let (status, status_in) = pipe_with(PipeFlags::CLOEXEC).step(|| "create a pipe")?;
        let status = readable(status).step(|| "watch a pipe")?;
        let parcel = wire::pack(spec, stdio, status_in).step(|| "write its request")?;
        let oom = KillCounter::read();
        let child = self.spawner.spawn(parcel).await.step(|| "start its supervisor")?;
        let supervisor = Supervisor::new(child, Arc::clone(&self.spawner)).step(|| "watch its supervisor")?;
        Process::started(supervisor, status, terminal, output, oom).await
    }
}

/// The ends that the child gets, those that are read here, and whether there will be a terminal.
fn prepare(stdio: Stdio) -> io::Result<(ChildStdio, Output, bool)> {
    match stdio {
        Stdio::Piped => {
            let (stdout, stdout_in) = pipe_with(PipeFlags::CLOEXEC)?;
            let (stderr, stderr_in) = pipe_with(PipeFlags::CLOEXEC)?;
            let output = Output::new(readable(stdout)?, readable(stderr)?);
            Ok((ChildStdio::Piped { stdout: stdout_in, stderr: stderr_in }, output, false))
        }
        Stdio::Inherit { stdin, stdout, stderr } => Ok((ChildStdio::Inherit { stdin, stdout, stderr }, Output::none(), false)),
        Stdio::Terminal { rows, columns } => Ok((ChildStdio::Terminal { rows, columns }, Output::none(), true)),
    }
}

/// Only this end does not block: the flag belongs to the end, not to the pipe.
fn readable(pipe: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(watch(pipe)?)
}
