//! A running sandbox as its owner sees it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::channel;
use crate::error::{ExecutorError, Step};
use crate::oom::KillCounter;
use crate::output::{Chunk, Output};
use crate::spawner::{Child, Spawner};
use crate::sys::readiness::watch;
use crate::sys::signal;
use crate::wire::{End, Failure, READY, Reply};

/// Largest failure that is read, bytes.
const MAX_FAILURE_BYTES: usize = 1 << 20;

/// A running sandbox. Dropping it kills every process in it and waits for nothing.
#[derive(Debug)]
pub struct Process {
    supervisor: Supervisor,
    pid: u32,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
    output: Output,
    oom: KillCounter,
    killed_by_us: AtomicBool,
    exit: Option<Exit>,
}

impl Process {
    /// Waits until the command has been executed, or has failed to be.
    pub(crate) async fn started(
        mut supervisor: Supervisor,
        status: AsyncFd<OwnedFd>,
        wants_terminal: bool,
        output: Output,
        oom: KillCounter,
    ) -> Result<Process, ExecutorError> {
        match start(&supervisor, &status, wants_terminal).await {
            Ok(Started { pid, pidfd, terminal }) => {
                Ok(Process { supervisor, pid, pidfd, terminal, output, oom, killed_by_us: AtomicBool::new(false), exit: None })
            }
            Err(error) => {
                // So that the caller finds nothing of it left. How it ended is nothing new.
                let _known = supervisor.ended().await;
                Err(error)
            }
        }
    }

    /// Pid of the command in the host's pid namespace. Another process may have it after the command has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Next output of a `Piped` process; `None` at the end of both streams. The command waits while its pipes are full and nobody asks.
    /// Cancel-safe.
    pub async fn output(&mut self) -> Option<Chunk> {
        self.output.next().await
    }

    /// The master of the sandbox's terminal: reading and writing it is the caller's, resizing too. Once.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Sends a signal to the command alone. As pid 1 it gets only those that it has a handler for, and SIGKILL and SIGSTOP; as in docker.
    /// ESRCH when it has ended.
    pub fn signal(&self, signal: i32) -> Result<(), ExecutorError> {
        if signal == libc::SIGKILL {
            self.killed_by_us.store(true, Ordering::Relaxed);
        }
        signal::send(self.pidfd.as_fd(), signal).step(|| format!("send signal {signal}"))
    }

    /// Waits for the end; all processes of the sandbox are gone and its mounts with them. Output that nobody has taken meanwhile is kept
    /// up to a mebibyte, the last of it. Cancel-safe; gives the same answer when asked again.
    pub async fn wait(&mut self) -> Result<Exit, ExecutorError> {
        if let Some(exit) = &self.exit {
            return Ok(exit.clone());
        }
        let end = tokio::select! {
            ended = self.supervisor.ended() => ended?,
            never = self.output.keep() => match never {},
        };
        let status = match end {
            End::Code(code) => ExitStatus::Code(code),
            End::Signal(signal) => ExitStatus::Signal(signal),
        };
        let oom = !self.killed_by_us.load(Ordering::Relaxed) && self.oom.explains(status, KillCounter::read);
        let exit = Exit { status, oom };
        self.exit = Some(exit.clone());
        Ok(exit)
    }

    /// SIGKILL to all, then as [`Process::wait`].
    pub async fn kill(&mut self) -> Result<Exit, ExecutorError> {
        if self.exit.is_none() {
            self.killed_by_us.store(true, Ordering::Relaxed);
            // Fails only when it has ended, which is what is wanted. With pid 1 of a namespace the others go.
            let _ended = signal::send(self.pidfd.as_fd(), libc::SIGKILL);
        }
        self.wait().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // The supervisor would do it when its socket ends; this is sooner.
            let _ended = signal::send(self.pidfd.as_fd(), libc::SIGKILL);
        }
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Of the command itself, pid 1 of the sandbox.
    pub status: ExitStatus,
    /// The kernel's OOM killer ended it: it or its last child died by a SIGKILL that is not ours while the killer was at work.
    pub oom: bool,
}

/// As wait(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// The owner's end of a supervisor: when it is dropped, the sandbox ends.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// `None` once reaped.
    pidfd: Option<AsyncFd<OwnedFd>>,
    socket: AsyncFd<OwnedFd>,
    spawner: Arc<Spawner>,
}

impl Supervisor {
    pub(crate) fn new(child: Child, spawner: Arc<Spawner>) -> io::Result<Supervisor> {
        let Child { pidfd, socket } = child;
        let pidfd = match watch(pidfd) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let (pidfd, error) = error.into_parts();
                spawner.reap(pidfd);
                return Err(error);
            }
        };
        match watch(socket) {
            Ok(socket) => Ok(Supervisor { pidfd: Some(pidfd), socket, spawner }),
            Err(error) => {
                spawner.reap(pidfd.into_inner());
                Err(error.into())
            }
        }
    }

    /// The next message; `None` when there will be no more.
    async fn receive(&self) -> io::Result<Option<(Reply, Vec<OwnedFd>)>> {
        self.socket.async_io(Interest::READABLE, |socket| channel::receive(socket, false)).await
    }

    /// Waits until it is gone and reaps it; how the command ended. To be asked once successfully. Cancel-safe.
    async fn ended(&mut self) -> Result<End, ExecutorError> {
        if let Some(pidfd) = &self.pidfd {
            let reap = |pidfd: &OwnedFd| match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
            {
                Ok(None) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
                Ok(Some(_)) => Ok(()),
                Err(error) => Err(error.into()),
            };
            pidfd.async_io(Interest::READABLE, reap).await.step(|| "wait for its supervisor")?;
            self.pidfd = None;
        }
        // It has sent all that it will ever send.
        loop {
            match channel::receive(self.socket.get_ref(), false).step(|| "hear from its supervisor")? {
                Some((Reply::Ended(end), _)) => return Ok(end),
                Some((Reply::Failed(failure), _)) => return Err(failure.into()),
                Some((Reply::Started { .. } | Reply::Terminal, _)) => {}
                None => return Err(died()),
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            self.spawner.reap(pidfd.into_inner());
        }
    }
}

struct Started {
    pid: u32,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
}

async fn start(supervisor: &Supervisor, status: &AsyncFd<OwnedFd>, wants_terminal: bool) -> Result<Started, ExecutorError> {
    let status = read_to_end(status).await.step(|| "hear from the command's process")?;
    let ready = status.first() == Some(&READY);
    let failure = if ready { &status[1..] } else { &status[..] };
    if !failure.is_empty() {
        let failure: Failure =
            serde_json::from_slice(failure).map_err(io::Error::from).step(|| "understand the command's process")?;
        return Err(failure.into());
    }
    let mut command = None;
    let mut terminal = None;
    loop {
        match supervisor.receive().await.step(|| "hear from its supervisor")? {
            Some((Reply::Started { pid }, descriptors)) => command = descriptors.into_iter().next().map(|pidfd| (pid, pidfd)),
            Some((Reply::Terminal, descriptors)) => terminal = descriptors.into_iter().next(),
            Some((Reply::Failed(failure), _)) => return Err(failure.into()),
            Some((Reply::Ended(_), _)) | None => return Err(died()),
        }
        if ready
            && terminal.is_some() == wants_terminal
            && let Some((pid, pidfd)) = command.take()
        {
            return Ok(Started { pid, pidfd, terminal });
        }
    }
}

async fn read_to_end(pipe: &AsyncFd<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while all.len() < MAX_FAILURE_BYTES {
        let length = pipe.async_io(Interest::READABLE, |pipe| Ok(rustix::io::read(pipe, &mut buffer)?)).await?;
        if length == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..length]);
    }
    Ok(all)
}

fn died() -> ExecutorError {
    ExecutorError::Setup { step: "keep its supervisor alive".to_owned(), source: io::Error::from(io::ErrorKind::UnexpectedEof) }
}
