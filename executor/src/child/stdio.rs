//! The command's descriptors 0, 1 and 2.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Uid, fchown, openat};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::channel;
use crate::child::mounts::clone_of;
use crate::child::standard::Devices;
use crate::child::{devices, rooted};
use crate::error::{ExecutorError, Step};
use crate::user::ResolvedUser;
use crate::wire::{Luggage, Reply, WireStdio};

/// The three, not yet in their places.
#[derive(Debug)]
pub(super) struct Ends {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Opens them; the master of a new terminal goes to rbuild.
pub(super) fn open(
    stdio: WireStdio,
    luggage: &mut Luggage,
    devices: &Devices,
    user: &ResolvedUser,
    socket: BorrowedFd<'_>,
) -> Result<Ends, ExecutorError> {
    let ends = match stdio {
        WireStdio::Piped { stdout, stderr } => {
            let stdin =
                openat(&devices.dev, "null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(|| "open `/dev/null`")?;
            Ends { stdin, stdout: luggage.take(stdout)?, stderr: luggage.take(stderr)? }
        }
        WireStdio::Inherit { stdin, stdout, stderr } => {
            Ends { stdin: luggage.take(stdin)?, stdout: luggage.take(stdout)?, stderr: luggage.take(stderr)? }
        }
        WireStdio::Terminal { rows, columns } => {
            open_terminal(devices, user, rows, columns, socket).step(|| "open a terminal")?
        }
    };
    for end in [&ends.stdin, &ends.stdout, &ends.stderr] {
        own_pipe(end.as_fd(), user).step(|| "give its pipes to the user")?;
    }
    Ok(ends)
}

/// Puts them in their places, past closing on exec.
pub(super) fn install(ends: Ends) -> Result<(), ExecutorError> {
    dup2_stdin(&ends.stdin).step(|| "set standard input")?;
    dup2_stdout(&ends.stdout).step(|| "set standard output")?;
    dup2_stderr(&ends.stderr).step(|| "set standard error")
}

fn open_terminal(devices: &Devices, user: &ResolvedUser, rows: u16, columns: u16, socket: BorrowedFd<'_>) -> io::Result<Ends> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(&devices.terminals, "ptmx", flags, Mode::empty())?;
    unlockpt(&master)?;
    let end = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    fchown(&end, Some(Uid::from_raw(user.uid)), None)?;
    ioctl_tiocsctty(&end)?;
    let name = ptsname(&master, Vec::new())?;
    let number = name.to_str().ok().and_then(|name| Path::new(name).file_name()).ok_or(io::ErrorKind::InvalidData)?;
    let console = clone_of(&devices.terminals, Path::new(number), false)?;
    devices::attach_file(devices.dev.as_fd(), "console", console.as_fd())?;
    channel::send(socket, &Reply::Terminal, &[master.as_fd()])?;
    Ok(Ends { stdin: end.try_clone()?, stdout: end.try_clone()?, stderr: end })
}

/// Without owning a pipe, another user than root cannot open it by /dev/stdout.
fn own_pipe(end: BorrowedFd<'_>, user: &ResolvedUser) -> io::Result<()> {
    if user.uid == 0 || rooted::file_type(end)? != FileType::Fifo {
        return Ok(());
    }
    match fchown(end, Some(Uid::from_raw(user.uid)), None) {
        // Somebody else's pipe, on a file system that does not let us: only /dev/stdout fails.
        Err(rustix::io::Errno::PERM | rustix::io::Errno::ROFS | rustix::io::Errno::INVAL) => Ok(()),
        owned => Ok(owned?),
    }
}
