//! The permanent thread that starts supervisors, and reaps those whose owner no longer waits for them.
//!
//! It is a thread of its own because PR_SET_PDEATHSIG fires when the *thread* that spawned ends, and threads of a runtime come and go.
//! `Command` without pre_exec uses posix_spawn, which is safe beside any other thread. One after the other has a use as well: a child
//! that has not executed yet holds every file that is open for writing, and a step that runs such a file would find it busy (ETXTBSY).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::sync::oneshot;

use crate::binary::Binary;
use crate::channel;
use crate::wire::{CHILD_NAME, send_parcel};

/// A started supervisor.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pidfd: OwnedFd,
    pub(crate) socket: OwnedFd,
}

/// A handle of the thread. The thread ends after the last handle is dropped and the last orphan is reaped.
#[derive(Debug)]
pub(crate) struct Spawner {
    requests: Sender<Request>,
    wake: Arc<OwnedFd>,
}

#[derive(Debug)]
enum Request {
    Spawn { parcel: Vec<OwnedFd>, reply: oneshot::Sender<io::Result<Child>> },
    Reap(OwnedFd),
}

impl Spawner {
    pub(crate) fn start(binary: Binary) -> io::Result<Spawner> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (requests, received) = channel();
        let woken = Arc::clone(&wake);
        std::thread::Builder::new().name("rbuild-spawner".to_owned()).spawn(move || serve(&binary, &received, &woken))?;
        Ok(Spawner { requests, wake })
    }

    /// Starts a supervisor and sends it its parcel.
    pub(crate) async fn spawn(&self, parcel: Vec<OwnedFd>) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Spawn { parcel, reply });
        answer.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::BrokenPipe)))
    }

    /// Waits for a supervisor that is about to end.
    pub(crate) fn reap(&self, pidfd: OwnedFd) {
        self.request(Request::Reap(pidfd));
    }

    fn request(&self, request: Request) {
        // The thread ends only after this handle; when it panicked, the reply's end tells.
        let _gone = self.requests.send(request);
        wake(&self.wake);
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let (closed, _) = channel();
        self.requests = closed;
        wake(&self.wake);
    }
}

fn wake(eventfd: &OwnedFd) {
    // Fails only when the counter is full, and then it is readable anyway.
    let _full = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}

fn serve(binary: &Binary, requests: &Receiver<Request>, wake: &OwnedFd) {
    let mut orphans: Vec<OwnedFd> = Vec::new();
    loop {
        // Emptied before the queue is looked at, so that no request is slept over.
        let _empty = rustix::io::read(wake, &mut [0; 8]);
        let closed = loop {
            match requests.try_recv() {
                Ok(Request::Spawn { parcel, reply }) => {
                    if let Err(Ok(unwanted)) = reply.send(start(binary, &parcel)) {
                        // Its socket closes here, and so it ends.
                        orphans.push(unwanted.pidfd);
                    }
                }
                Ok(Request::Reap(pidfd)) => orphans.push(pidfd),
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        orphans.retain(|pidfd| !reaped(pidfd));
        if closed && orphans.is_empty() {
            return;
        }
        let awaited: Vec<&OwnedFd> = [wake].into_iter().chain(&orphans).collect();
        let mut awaited: Vec<PollFd<'_>> = awaited.into_iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        // After an interruption everything is looked at again.
        let _interrupted = poll(&mut awaited, None);
    }
}

fn reaped(pidfd: &OwnedFd) -> bool {
    !matches!(waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG), Ok(None))
}

fn start(binary: &Binary, parcel: &[OwnedFd]) -> io::Result<Child> {
    let (socket, theirs) = channel::pair()?;
    let child = Command::new(binary.path())
        .arg0(CHILD_NAME)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    // Not reaped yet, so the pid is still its own.
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    match send_parcel(socket.as_fd(), parcel) {
        // Dead already: the socket's end tells.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe && error.kind() != io::ErrorKind::ConnectionReset => {
            drop(socket);
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
            Err(error)
        }
        _ => Ok(Child { pidfd, socket }),
    }
}
