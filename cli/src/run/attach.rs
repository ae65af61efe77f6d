//! Staying with a container: its terminal, its signals, its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use rbuild_executor::{ExecutorError, Exit, Process};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// After so many interrupts or terminations the container is killed, as docker does.
const PATIENCE: u32 = 3;

/// Signals that are passed on, and the one that says that the window has changed.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
    window: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            window: signal(SignalKind::window_change())?,
        })
    }

    /// The next signal to pass on; `None` when the window has changed.
    async fn next(&mut self) -> Option<i32> {
        tokio::select! {
            _ = self.interrupt.recv() => Some(libc::SIGINT),
            _ = self.terminate.recv() => Some(libc::SIGTERM),
            _ = self.hangup.recv() => Some(libc::SIGHUP),
            _ = self.quit.recv() => Some(libc::SIGQUIT),
            _ = self.window.recv() => None,
        }
    }
}

/// Waits for the end of the process, passing signals on meanwhile.
pub(super) async fn wait(
    process: &mut Process,
    mut signals: Signals,
    terminal: Option<&Terminal>,
) -> Result<Exit, ExecutorError> {
    let mut count = 0;
    loop {
        let next = tokio::select! {
            exit = process.wait() => return exit,
            next = signals.next() => next,
        };
        match (next, terminal) {
            (None, Some(terminal)) => terminal.resize(),
            (None, None) => {}
            (Some(signal), _) => {
                count += u32::from(matches!(signal, libc::SIGINT | libc::SIGTERM));
                if count >= PATIENCE {
                    return process.kill().await;
                }
                if let Err(error) = process.signal(signal) {
                    tracing::debug!(%error, signal, "the process has ended already");
                }
            }
        }
    }
}

/// Rows and columns of this process's terminal, or docker's default.
pub(super) fn window() -> (u16, u16) {
    winsize().map_or((24, 80), |size| (size.ws_row, size.ws_col))
}

fn winsize() -> Option<Winsize> {
    let sizes = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin()), tcgetwinsize(io::stderr())];
    sizes.into_iter().flatten().find(|size| size.ws_row > 0 && size.ws_col > 0)
}

/// The container's terminal, joined to this process's.
pub(super) struct Terminal {
    master: OwnedFd,
    output: JoinHandle<()>,
    _raw: Option<RawMode>,
}

impl Terminal {
    /// Two threads copy; the one for input dies with the process, because a read from a terminal cannot be called off.
    pub(super) fn attach(master: OwnedFd, interactive: bool) -> io::Result<Terminal> {
        let mut from = File::from(master.try_clone()?);
        let output = std::thread::spawn(move || copy(&mut from, &mut io::stdout()));
        if interactive {
            let mut to = File::from(master.try_clone()?);
            std::thread::spawn(move || copy(&mut io::stdin(), &mut to));
        }
        let raw = if interactive { RawMode::enter() } else { None };
        Ok(Terminal { master, output, _raw: raw })
    }

    fn resize(&self) {
        if let Some(size) = winsize()
            && let Err(error) = tcsetwinsize(&self.master, size)
        {
            tracing::debug!(%error, "the container's terminal keeps its size");
        }
    }

    /// Shows what is left of the output and restores the terminal.
    pub(super) fn finish(self) {
        let Terminal { master, output, _raw } = self;
        drop(master);
        if output.join().is_err() {
            tracing::debug!("the copy of the output ended early");
        }
    }
}

/// Copies without waiting for lines. A terminal whose other side is closed answers EIO: that is its end.
fn copy(from: &mut dyn Read, to: &mut dyn Write) {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_closed) => return,
        }
    }
}

/// Raw mode of standard input; the old mode comes back with drop, also after a panic.
struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `None` when standard input is no terminal.
    fn enter() -> Option<RawMode> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw).ok()?;
        Some(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before) {
            tracing::debug!(%error, "the terminal's mode was not restored");
        }
    }
}
