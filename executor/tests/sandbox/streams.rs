//! Output, back-pressure, descriptors, environment.

use std::io::Read;
use std::os::fd::OwnedFd;

use fs_err as fs;
use rbuild_executor::{ExitStatus, Stdio};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::bed::{Bed, executor, run, runtime, start, stdout};

#[test]
fn both_streams() {
    let outcome = run(Bed::new().shell("echo out; echo err >&2")).unwrap();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn environment_is_what_was_asked_for() {
    let bed = Bed::new();
    let mut spec = bed.spec(&["env"]);
    spec.env = vec!["PATH=/bin".to_owned(), "B=2 x".to_owned(), "A=".to_owned()];
    assert_eq!(stdout(spec), "PATH=/bin\nB=2 x\nA=\nHOME=/root\n");
    let mut spec = bed.spec(&["env"]);
    spec.env.push("HOME=/elsewhere".to_owned());
    assert_eq!(stdout(spec), "PATH=/sbin:/bin\nHOME=/elsewhere\n");
}

#[test]
fn a_command_has_three_descriptors_and_default_signals() {
    let bed = Bed::new();
    // The fourth is that of the listing itself.
    assert_eq!(stdout(bed.spec(&["ls", "/proc/self/fd"])), "0\n1\n2\n3\n");
    assert_eq!(stdout(bed.spec(&["readlink", "/proc/self/fd/0"])), "/dev/null\n");
    let status = stdout(bed.spec(&["cat", "/proc/self/status"]));
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(status.contains(line), "{status}");
    }
    assert_eq!(stdout(bed.shell("umask; cat </dev/stdin")), "0022\n");
}

#[test]
fn a_command_waits_for_a_reader() {
    let bed = Bed::new();
    runtime().block_on(async {
        let mut process = start(bed.shell("head -c 50000000 /dev/zero; echo end >&2")).await.unwrap();
        let (mut bytes, mut errors) = (0, Vec::new());
        while let Some(chunk) = process.output().await {
            assert!(!chunk.bytes.is_empty() && chunk.bytes.len() <= 65536);
            if chunk.stderr { errors.extend(chunk.bytes) } else { bytes += chunk.bytes.len() }
        }
        assert_eq!((bytes, errors.as_slice()), (50_000_000, b"end\n".as_slice()));
        assert_eq!(process.wait().await.unwrap().status, ExitStatus::Code(0));
    });
}

#[test]
fn waiting_keeps_the_last_mebibyte() {
    let bed = Bed::new();
    runtime().block_on(async {
        let mut process = start(bed.shell("head -c 5000000 /dev/zero; echo end")).await.unwrap();
        assert_eq!(process.wait().await.unwrap().status, ExitStatus::Code(0));
        let mut all = Vec::new();
        while let Some(chunk) = process.output().await {
            all.extend(chunk.bytes);
        }
        assert!(all.len() > 500_000 && all.len() <= (1 << 20) + 2 * 65536, "{}", all.len());
        assert!(all.ends_with(b"\0end\n"));
    });
}

#[test]
fn the_callers_own_descriptors() {
    let bed = Bed::new();
    fs::write(bed.outside("input"), "from outside").unwrap();
    runtime().block_on(async {
        let (output, output_in) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let stdin = OwnedFd::from(fs::File::open(bed.outside("input")).unwrap().into_parts().0);
        let stdio = Stdio::Inherit { stdin, stdout: output_in.try_clone().unwrap(), stderr: output_in };
        let mut process = executor().spawn(bed.shell("cat; echo; echo err >&2"), stdio).await.unwrap();
        assert!(process.output().await.is_none());
        assert_eq!(process.wait().await.unwrap().status, ExitStatus::Code(0));
        let mut text = String::new();
        std::fs::File::from(output).read_to_string(&mut text).unwrap();
        assert_eq!(text, "from outside\nerr\n");
    });
}

#[test]
fn other_users_can_open_their_output() {
    let bed = Bed::new();
    let mut spec = bed.shell("echo out >/dev/stdout; echo err >/dev/stderr");
    spec.user = "app".to_owned();
    assert_eq!(stdout(spec), "out\n");
}
