//! Many at once, and what is left when somebody dies.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use fs_err as fs;
use rbuild_executor::{Executor, ExitStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::bed::{Bed, CHILD, finish, runtime, start};

fn watch(pid: u32) -> OwnedFd {
    pidfd_open(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), PidfdFlags::empty()).unwrap()
}

/// A deadline, not a wait: it ends as soon as the process does.
#[track_caller]
fn gone(pidfd: &OwnedFd) {
    let deadline = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&deadline)).unwrap(), 1, "still alive");
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

#[test]
fn fifty_at_once() {
    let bed = Bed::new();
    runtime().block_on(async {
        let running: Vec<_> =
            (0..50).map(|number| tokio::spawn(finish(bed.shell(&format!("echo {number}; exit {number}"))))).collect();
        for (number, outcome) in running.into_iter().enumerate() {
            let outcome = outcome.await.unwrap().unwrap();
            assert_eq!(outcome.stdout, format!("{number}\n"));
            assert_eq!(outcome.exit.status, ExitStatus::Code(i32::try_from(number).unwrap()));
        }
    });
}

/// Neither running nor a zombie: a pidfd knows when its process has been reaped.
fn is_reaped(pidfd: &OwnedFd) -> bool {
    let details = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    details.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim() == "-1"
}

#[test]
fn nothing_is_mounted_on_the_host_and_no_zombie_stays() {
    let bed = Bed::new();
    runtime().block_on(async {
        let mut process = start(bed.shell("echo ready; sleep 1000")).await.unwrap();
        process.output().await.unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(bed.outside("").to_str().unwrap().trim_end_matches('/')), "{mounts}");
        let (command, supervisor) = (watch(process.pid()), watch(parent_of(process.pid())));
        assert!(!is_reaped(&command) && !is_reaped(&supervisor));
        process.kill().await.unwrap();
        assert!(is_reaped(&command) && is_reaped(&supervisor));
    });
}

#[test]
fn a_program_that_is_no_supervisor_is_noticed() {
    let bed = Bed::new();
    let executor = Executor::new(Some("/bin/false".into())).unwrap();
    runtime().block_on(async {
        let error = executor.spawn(bed.shell("true"), rbuild_executor::Stdio::Piped).await.unwrap_err();
        assert_eq!(error.to_string(), "sandbox could not keep its supervisor alive");
    });
}

#[test]
fn dropping_a_process_ends_it() {
    let bed = Bed::new();
    let (command, supervisor) = runtime().block_on(async {
        let process = start(bed.shell("sleep 1000 & sleep 1000")).await.unwrap();
        (watch(process.pid()), watch(parent_of(process.pid())))
    });
    gone(&command);
    gone(&supervisor);
}

#[test]
fn a_dropped_start_leaves_nothing() {
    let bed = Bed::new();
    runtime().block_on(async {
        for _ in 0..20 {
            let starting = start(bed.shell("sleep 1000"));
            tokio::select! {
                biased;
                _ = starting => {}
                () = tokio::task::yield_now() => {}
            }
        }
        // The spawner is still well.
        assert_eq!(finish(bed.shell("exit 4")).await.unwrap().exit.status, ExitStatus::Code(4));
    });
}

/// Starts the helper as a parent that runs `sleep 1000` in a sandbox; its pidfd and the helper.
fn helper(bed: &Bed, mode: &str) -> (std::process::Child, u32) {
    let mut helper = Command::new(CHILD).args([mode.as_ref(), bed.path("").as_os_str()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(helper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (helper, line.trim().parse().unwrap_or_else(|_| panic!("the helper said {line:?}")))
}

#[test]
fn a_killed_rbuild_takes_its_sandboxes_along() {
    let bed = Bed::new();
    let (mut helper, pid) = helper(&bed, "hold");
    let (command, supervisor) = (watch(pid), watch(parent_of(pid)));
    helper.kill().unwrap();
    helper.wait().unwrap();
    gone(&command);
    gone(&supervisor);
}

#[test]
fn a_killed_supervisor_takes_its_sandbox_along() {
    let bed = Bed::new();
    runtime().block_on(async {
        let mut process = start(bed.shell("sleep 1000")).await.unwrap();
        let command = watch(process.pid());
        let supervisor = watch(parent_of(process.pid()));
        rustix::process::pidfd_send_signal(&supervisor, rustix::process::Signal::KILL).unwrap();
        let error = process.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "sandbox could not keep its supervisor alive");
        gone(&command);
    });
}

#[test]
fn shared_mounts_of_the_host_get_nothing() {
    let bed = Bed::new();
    let mut helper = Command::new("/usr/bin/unshare");
    helper.args(["--mount", "--propagation", "unchanged", CHILD, "shared"]).arg(bed.path(""));
    let output = helper.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
