//! Signal masks, dispositions, and signals by number.
#![allow(unsafe_code, reason = "system calls that rustix lacks")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The kernel's _NSIG.
const LAST_SIGNAL: libc::c_int = 64;

/// Blocks every signal of this thread and returns a descriptor that is readable while `signal` is pending (signalfd(2)).
pub(crate) fn block_all(signal: libc::c_int) -> io::Result<OwnedFd> {
    let (mut all, mut one) = (empty_set(), empty_set());
    // SAFETY: `all` is a live, initialised set.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: `one` is a live, initialised set.
    unsafe { libc::sigaddset(&raw mut one, signal) };
    set_mask(&all)?;
    // SAFETY: signalfd(2) reads a live set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const one, libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd(2) returned a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives every signal its default action and unblocks all: exec(2) keeps what is ignored or blocked, and Rust ignores SIGPIPE.
pub(crate) fn reset_all() -> io::Result<()> {
    // The kernel's `sigaction`: handler, flags, restorer, mask; all zero is SIG_DFL.
    let default = [0_usize; 4];
    for signal in 1..=LAST_SIGNAL {
        let none = std::ptr::null::<usize>();
        // SAFETY: rt_sigaction(2) reads a live structure whose mask has the size that is passed. Called directly, because libc keeps two
        // signals to itself. It fails without effect for SIGKILL and SIGSTOP.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, size_of::<usize>()) };
    }
    set_mask(&empty_set())
}

/// pidfd_send_signal(2) with any number, real-time signals included.
pub(crate) fn send(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: pidfd_send_signal(2) with no siginfo takes only numbers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) initialises the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the call above.
    unsafe { set.assume_init() }
}

fn set_mask(mask: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: sigprocmask(2) reads a live set and is not asked for the old one.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
