//! Several processes on one state directory, kill -9 at any moment, a full disk, both snapshot drivers.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rbuild_tests::{Outcome, Rbuild, context, is_root, tree_of};

const STEPS: &str = "FROM busybox AS a\nCOPY big /a/\nRUN mkdir /x && for i in 1 2 3 4 5 6 7 8 9; do echo $i >/x/$i; done\nFROM busybox\nCOPY --from=a /x /x\nRUN rm /x/1 && ln /x/2 /x/hard && echo done >/done\nCOPY --from=a /a /a\n";

#[test]
fn concurrent_builds_execute_a_common_step_once() {
    if !is_root("concurrent_builds_execute_a_common_step_once") {
        return;
    }
    let rbuild = Rbuild::new();
    let build = |last: &str| {
        let dockerfile = format!("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/common; sleep 1\nRUN echo {last} >/own\n");
        let context = context(&[("Dockerfile", &dockerfile)]);
        let out = rbuild.dir().join(format!("out-{last}"));
        let mut command = rbuild.command(&[
            "build",
            "--progress=plain",
            "-o",
            &format!("type=local,dest={}", out.display()),
            &context.path().to_string_lossy(),
        ]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rbuild");
        (child, out, context)
    };
    let builds: Vec<_> = ["one", "two", "three"].map(build).into_iter().collect();
    let mut common = Vec::new();
    for (child, out, _context) in builds {
        let outcome = Outcome::of(child.wait_with_output().expect("rbuild ends"));
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        common.push(fs_err::read_to_string(out.join("common")).expect("the file"));
    }
    assert!(common.iter().all(|one| *one == common[0]), "{common:?}");
}

#[test]
fn killed_builds_leave_a_state_on_which_the_next_succeeds() {
    if !is_root("killed_builds_leave_a_state_on_which_the_next_succeeds") {
        return;
    }
    let rbuild = Rbuild::new();
    let context = context(&[("Dockerfile", STEPS), ("big", &"0123456789abcdef".repeat(50_000))]);
    let path = context.path().to_string_lossy().into_owned();
    let archive = rbuild.dir().join("killed.tar");
    let output = format!("type=oci,dest={}", archive.display());
    let reference = tree_of(&Rbuild::new().build_local(context.path(), &[]), &[]);
    let start = Instant::now();
    rbuild.ok(&["build", "--no-cache", "-o", &output, "-t", "x", &path]);
    let whole = start.elapsed();
    for round in 0..100u32 {
        let moment = whole * (round * 37 % 100) / 100;
        let mut words = vec!["build", "-t", "x", "-o", &output];
        if round % 3 != 0 {
            words.push("--no-cache");
        }
        words.push(&path);
        let mut child = rbuild.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("rbuild");
        kill_after(&mut child, moment);
        if round % 20 == 19 {
            assert_eq!(tree_of(&rbuild.build_local(context.path(), &[]), &[]), reference, "after {round} kills");
        }
    }
    rbuild.ok(&["prune"]);
    let sessions = fs_err::read_dir(rbuild.state().join("sessions")).expect("sessions").count();
    assert_eq!(sessions, 0, "prune removes what dead processes left");
    assert_eq!(tree_of(&rbuild.build_local(context.path(), &[]), &[]), reference);
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(!mounts.contains(&*rbuild.state().to_string_lossy()), "nothing is left mounted");
}

/// Kills at a moment of the build unless it ended before: the moment is what is tested, not a time that something must take.
fn kill_after(child: &mut std::process::Child, moment: Duration) {
    let start = Instant::now();
    while start.elapsed() < moment {
        if child.try_wait().expect("wait").is_some() {
            return;
        }
        std::thread::yield_now();
    }
    child.kill().expect("kill");
    let status = child.wait().expect("wait");
    assert!(status.signal() == Some(9) || status.success(), "{status}");
}

#[test]
fn an_interrupted_build_ends_its_processes() {
    if !is_root("an_interrupted_build_ends_its_processes") {
        return;
    }
    let rbuild = Rbuild::new();
    let mark = format!("{}.77", 100_000 + std::process::id());
    let context = context(&[("Dockerfile", &format!("FROM busybox\nRUN echo started; sleep {mark}\n"))]);
    let mut command = rbuild.command(&["build", "--progress=plain", &context.path().to_string_lossy()]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("rbuild");
    let mut reader = std::io::BufReader::new(child.stderr.take().expect("stderr"));
    let mut seen = String::new();
    while !seen.lines().any(|line| line.ends_with(" started")) {
        let read = std::io::BufRead::read_line(&mut reader, &mut seen).expect("progress");
        assert!(read > 0, "the build ended early:\n{seen}");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("the signal is sent");
    std::io::Read::read_to_string(&mut reader, &mut seen).expect("progress");
    assert_eq!(child.wait().expect("wait").code(), Some(130), "{seen}");
    let running = std::process::Command::new("pgrep").args(["-f", &format!("sleep {mark}")]).output().expect("pgrep");
    assert_eq!(String::from_utf8_lossy(&running.stdout), "", "the step's process is gone");
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    if !is_root("a_full_disk_is_said_and_loses_nothing") {
        return;
    }
    let rbuild = Rbuild::empty();
    let context = context(&[
        ("Dockerfile", "FROM scratch\nCOPY big /big\n"),
        ("small", "FROM scratch\nWORKDIR /ok\n"),
        ("big", &"x".repeat(30_000_000)),
    ]);
    let script = "set -e; mount -t tmpfs -o size=12m tmpfs \"$1\"; shift; code=0; \"$@\" || code=$?; exit $code";
    let state = rbuild.state();
    fs_err::create_dir_all(&state).expect("the mount point");
    let run = |first: &str, then: &str| {
        let inner = rbuild.command(&[]);
        let program = inner.get_program().to_owned();
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(&state).args(["sh", "-c"]);
        let path = context.path().display();
        let program = program.to_string_lossy();
        let text = format!(
            "{program} build -f {path}/{first} {path}; echo code $?; {program} build -t ok -f {path}/{then} {path} && {program} images"
        );
        command.arg(text).env("RBUILD_ROOT", &state);
        Outcome::of(command.output().expect("unshare"))
    };
    let outcome = run("Dockerfile", "small");
    assert!(outcome.stdout.contains("code 7"), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("space") || outcome.stderr.contains("full"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("ok"), "{}{}", outcome.stdout, outcome.stderr);
}
