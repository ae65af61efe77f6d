//! How commands end, and which cannot begin.

use fs_err as fs;
use rbuild_executor::{ExecutorError, ExitStatus};

use crate::bed::{Bed, run, runtime, start, stdout};

#[track_caller]
fn check(script: &str, expected: ExitStatus) {
    let outcome = run(Bed::new().shell(script)).unwrap();
    assert_eq!((outcome.exit.status, outcome.exit.oom), (expected, false), "{script}: {}", outcome.stderr);
}

#[test]
fn exit_codes() {
    check("exit 0", ExitStatus::Code(0));
    check("exit 7", ExitStatus::Code(7));
    check("exit 255", ExitStatus::Code(255));
    check("no-such-program", ExitStatus::Code(127));
    check("sh -c 'kill -9 $$'; exit $?", ExitStatus::Code(137));
}

#[test]
fn orphans_end_with_the_command() {
    // The background process holds both pipes open.
    check("sleep 1000 & sleep 1000 & (sleep 1000 &) ; exit 3", ExitStatus::Code(3));
}

#[test]
fn signals_from_outside() {
    let ended = |script: &str, signal: i32| {
        let bed = Bed::new();
        runtime().block_on(async {
            let mut process = start(bed.shell(script)).await.unwrap();
            assert_eq!(process.output().await.unwrap().bytes, b"ready\n");
            process.signal(signal).unwrap();
            process.wait().await.unwrap()
        })
    };
    // Pid 1 gets a signal only with a handler, except SIGKILL.
    let trapped = ended("trap 'exit 42' TERM; echo ready; while true; do sleep 0.01; done", libc::SIGTERM);
    assert_eq!(trapped.status, ExitStatus::Code(42));
    let killed = ended("echo ready; sleep 1000", libc::SIGKILL);
    assert_eq!((killed.status, killed.oom), (ExitStatus::Signal(libc::SIGKILL), false));
}

#[test]
fn kill_ends_everything_and_wait_can_be_asked_again() {
    let bed = Bed::new();
    runtime().block_on(async {
        let mut process = start(bed.shell("sleep 1000 & sleep 1000")).await.unwrap();
        let exit = process.kill().await.unwrap();
        assert_eq!(exit.status, ExitStatus::Signal(libc::SIGKILL));
        assert_eq!(process.wait().await.unwrap(), exit);
        assert_eq!(process.kill().await.unwrap(), exit);
        assert!(process.signal(libc::SIGTERM).is_err());
        assert!(process.output().await.is_none());
    });
}

#[track_caller]
fn refused(args: &[&str]) -> ExecutorError {
    let bed = Bed::new();
    fs::create_dir(bed.path("bin/directory")).unwrap();
    fs::write(bed.path("bin/plain"), "#!/bin/sh\n").unwrap();
    fs::write(bed.path("bin/script"), "#!/no/such/interpreter\n").unwrap();
    let executable = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(bed.path("bin/script"), executable).unwrap();
    match run(bed.spec(args)) {
        Ok(_) => panic!("{args:?} ran"),
        Err(error) => error,
    }
}

#[test]
fn programs_that_cannot_be_run() {
    let not_found = |args: &[&str], message: &str| {
        let error = refused(args);
        assert!(matches!(error, ExecutorError::NotFound(_)), "{error:?}");
        assert_eq!(error.to_string(), message);
    };
    not_found(&["nothing"], "exec: `nothing`: executable file not found in $PATH");
    not_found(&["plain"], "exec: `plain`: executable file not found in $PATH");
    not_found(&["directory"], "exec: `directory`: executable file not found in $PATH");
    not_found(&["/bin/nothing"], "exec: `/bin/nothing`: no such file or directory");
    not_found(&["/bin/plain/x"], "exec: `/bin/plain/x`: no such file or directory");
    not_found(&[""], "exec: ``: executable file not found in $PATH");
    not_found(&[], "exec: ``: executable file not found in $PATH");
    let not_executable = |args: &[&str], errno: i32| {
        let error = refused(args);
        let ExecutorError::NotExecutable { program, source } = &error else { panic!("{error:?}") };
        assert_eq!((program.as_str(), source.raw_os_error()), (args[0], Some(errno)));
    };
    not_executable(&["/bin/plain"], libc::EACCES);
    not_executable(&["/bin/directory"], libc::EISDIR);
    not_executable(&["/bin/script"], libc::ENOENT);
}

#[test]
fn a_program_is_looked_up_in_the_last_path_and_the_working_directory() {
    let bed = Bed::new();
    let with = |env: &[&str], args: &[&str]| {
        let mut spec = bed.spec(args);
        spec.env = env.iter().map(|variable| (*variable).to_owned()).collect();
        spec.cwd = "/bin".to_owned();
        spec
    };
    assert!(matches!(run(with(&[], &["true"])), Err(ExecutorError::NotFound(_))));
    assert!(matches!(run(with(&["PATH=/bin", "PATH=/x"], &["true"])), Err(ExecutorError::NotFound(_))));
    stdout(with(&["PATH=/x", "PATH=/bin"], &["true"]));
    stdout(with(&["PATH=/x:"], &["true"]));
    stdout(with(&[], &["./true"]));
    assert!(matches!(run(with(&["PATH=/bin"], &["true", "zero\0byte"])), Err(ExecutorError::Setup { .. })));
}
