//! Making, replacing and ending processes: clone3, execve, close_range, keyctl.
#![allow(unsafe_code, reason = "raw system calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// One side of a clone.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The old one, with the new one's pid and pidfd.
    Parent { pid: u32, pidfd: OwnedFd },
}

/// clone3(2) without shared memory: a fork into new namespaces, with a pidfd. Only for a process with a single thread, because the child
/// goes on with a copy of the heap.
pub(crate) fn fork_into(namespaces: libc::c_int) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut arguments = libc::clone_args {
        flags: u64::from((namespaces | libc::CLONE_PIDFD).cast_unsigned()),
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: clone3(2) with a live `clone_args` of the size that is passed. Without CLONE_VM and CLONE_THREAD it is a fork; the caller
    // promises to be single-threaded, so no lock of the copied heap is held by a thread that does not exist in the child.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match u32::try_from(result) {
        Ok(0) => Ok(Cloned::Child),
        Ok(pid) => {
            // SAFETY: CLONE_PIDFD made the kernel store a new descriptor there, which nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// execve(2). Returns only when it fails.
pub(crate) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: execve(2): a terminated path and two arrays of terminated strings that end in null; all outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Closes every descriptor from `first` on (close_range(2), Linux 5.9). Only for a process that owns none of them.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    close_range(first, 0)
}

/// Marks every descriptor from `first` on to be closed by exec (Linux 5.11).
pub(crate) fn close_from_on_exec(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: close_range(2) takes three numbers; which descriptors may go is the contract of the two callers.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A new, empty session keyring, so that the command sees no key of the host's session (keyctl(2)).
pub(crate) fn join_new_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: keyctl(2) KEYCTL_JOIN_SESSION_KEYRING with a null name makes an anonymous keyring and reads no memory.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process at once: no destructor, no exit handler.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(code) }
}
