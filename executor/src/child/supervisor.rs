//! The re-executed, single-threaded rbuild: clones the command into its namespaces, ends it when rbuild ends, reports how it ended.
//!
//! It stays in the host's namespaces itself. All signals are blocked: the terminal's ctrl-c is rbuild's business, and the death of rbuild
//! shows as end of file on the socket (or, as a second line, as SIGTERM by PR_SET_PDEATHSIG).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, chdir, set_parent_process_death_signal, setsid, waitid};
use rustix::stdio::{dup2_stdin, stdin, stdout};
use rustix::thread::set_name;

use crate::channel;
use crate::child::command;
use crate::child::stubs;
use crate::error::{ExecutorError, Step};
use crate::sys::process::{Cloned, close_from, exit, fork_into};
use crate::sys::signal;
use crate::wire::{Arrival, End, Reply, Report, WireNetwork, receive_parcel};

/// As ps(1) shows it.
const NAME: &CStr = c"rbuild-init";

/// Runs one sandbox. Called in a fresh process with the socket as descriptor 0; never returns.
pub(crate) fn run() -> ! {
    let Ok(socket) = take_socket() else { exit(1) };
    let reply = match supervise(&socket) {
        Ok(end) => Reply::Ended(end),
        Err(error) => Reply::Failed(error.into()),
    };
    // When nobody listens any more, rbuild is gone and nobody needs to know.
    let sent = channel::send(socket.as_fd(), &reply, &[]);
    exit(i32::from(sent.is_err()))
}

/// Moves the socket away from descriptor 0 and closes what this process inherited by accident.
fn take_socket() -> io::Result<OwnedFd> {
    close_from(3)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin(), 3)?;
    dup2_stdin(stdout())?;
    Ok(socket)
}

fn supervise(socket: &OwnedFd) -> Result<End, ExecutorError> {
    // Not a member of the terminal's session: its signals and its hang-up are not for us.
    setsid().step(|| "start a session")?;
    // Not to keep the directory of rbuild busy, and not to be called by a number in lists of processes.
    chdir("/").step(|| "change to `/`")?;
    set_name(NAME).step(|| "set its name")?;
    let orphaned = signal::block_all(libc::SIGTERM).step(|| "block signals")?;
    set_parent_process_death_signal(Some(Signal::TERM)).step(|| "bind its life to rbuild's")?;
    let arrival = receive_parcel(socket.as_fd()).step(|| "receive its request")?;
    let (report, report_in) = channel::pair().step(|| "create a socket")?;
    match fork_into(namespaces(&arrival)).step(|| "create namespaces")? {
        Cloned::Child => {
            drop(report);
            command::run(arrival, socket.as_fd(), report_in.as_fd())
        }
        Cloned::Parent { pid, pidfd } => {
            // The copies here would keep pipes open and mounts alive.
            drop((arrival, report_in));
            let told = channel::send(socket.as_fd(), &Reply::Started { pid }, &[pidfd.as_fd()]);
            if told.is_err() {
                kill(pidfd.as_fd());
            }
            watch(socket.as_fd(), orphaned.as_fd(), pidfd.as_fd(), report.as_fd())
        }
    }
}

fn namespaces(arrival: &Arrival) -> libc::c_int {
    let network = match arrival.request.network {
        WireNetwork::Host => 0,
        WireNetwork::None => libc::CLONE_NEWNET,
    };
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP | network
}

/// Waits for the command's end, or for rbuild's and then ends the command. When pid 1 of a namespace is gone, so are all others in it.
fn watch(
    socket: BorrowedFd<'_>,
    orphaned: BorrowedFd<'_>,
    pidfd: BorrowedFd<'_>,
    report: BorrowedFd<'_>,
) -> Result<End, ExecutorError> {
    let mut stubs = Vec::new();
    let mut root = None;
    let (mut rbuild_lives, mut reporting) = (true, true);
    loop {
        // What has ended would be ready for ever.
        let watched = |open: bool, fd| if open { fd } else { pidfd };
        let fds = [pidfd, watched(reporting, report), watched(rbuild_lives, socket), watched(rbuild_lives, orphaned)];
        let [ended, reported, closed, signalled] = wait_for_any(fds).step(|| "wait for the command")?;
        if reporting && reported {
            match channel::receive::<Report>(report, false) {
                Ok(Some((part, descriptors))) => {
                    stubs.extend(part.stubs);
                    root = descriptors.into_iter().next().or(root);
                }
                Ok(None) | Err(_) => reporting = false,
            }
        } else if ended {
            let end = reap(pidfd)?;
            if let Some(root) = root {
                stubs::remove(root.as_fd(), &stubs);
            }
            return Ok(end);
        } else if closed || signalled {
            rbuild_lives = false;
            kill(pidfd);
        }
    }
}

/// Which of the descriptors are readable or at their end; at least one is.
fn wait_for_any(descriptors: [BorrowedFd<'_>; 4]) -> io::Result<[bool; 4]> {
    let mut ready = descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    loop {
        match poll(&mut ready, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(ready.map(|fd| !fd.revents().is_empty())),
        }
    }
}

fn kill(pidfd: BorrowedFd<'_>) {
    // Fails only when it is gone already, which is what is wanted.
    let _gone = signal::send(pidfd, libc::SIGKILL);
}

fn reap(pidfd: BorrowedFd<'_>) -> Result<End, ExecutorError> {
    let status = loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Ok(Some(status)) => break status,
            Ok(None) => return Err(io::Error::from(io::ErrorKind::NotFound)).step(|| "wait for the command"),
            Err(error) => return Err(error).step(|| "wait for the command"),
        }
    };
    Ok(match status.exit_status() {
        Some(code) => End::Code(code),
        None => End::Signal(status.terminating_signal().unwrap_or(libc::SIGKILL)),
    })
}
