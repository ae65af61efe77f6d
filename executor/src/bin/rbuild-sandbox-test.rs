//! The tests' stand-in for rbuild: a program that can be a sandbox child, and an owner of a sandbox.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a part of the tests")]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fs_err as fs;
use rbuild_executor::{Executor, Exit, ExitStatus, Network, Spec, Stdio, run_child_if_asked};
use rbuild_fs::MountSource;
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_bind, mount_change, open_tree};

/// Runs of the measurement.
const RUNS: u32 = 50;

fn main() {
    run_child_if_asked();
    let arguments: Vec<PathBuf> = std::env::args_os().map(PathBuf::from).collect();
    let [_, mode, root] = arguments.as_slice() else { panic!("two arguments: hold|shared|time ROOT") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match mode.to_str().unwrap() {
        "hold" => runtime.block_on(hold(root)),
        "shared" => runtime.block_on(shared(root)),
        "time" => runtime.block_on(time(root)),
        other => panic!("no mode {other}"),
    }
}

/// Prints the pid of a command that does not end, and does not end itself.
async fn hold(root: &Path) {
    let executor = Executor::new(None).unwrap();
    let process =
        executor.spawn(spec(clone_of(root), "sleep 1000"), Stdio::Inherit { stdin: null(), stdout: null(), stderr: null() });
    let process = process.await.unwrap();
    println!("{}", process.pid());
    std::future::pending::<()>().await;
    drop(process);
}

/// Runs a sandbox where every mount is shared, as systemd has it; no mount may come back. In a mount namespace of its own.
async fn shared(root: &Path) {
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).unwrap();
    mount_bind(root, root).unwrap();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    assert!(before.contains("shared:"));
    let executor = Executor::new(None).unwrap();
    let mut process = executor.spawn(spec(clone_of(root), "sleep 1000"), Stdio::Piped).await.unwrap();
    assert_eq!(mounts(), before);
    process.kill().await.unwrap();
    assert_eq!(mounts(), before);
}

/// Mean time of a trivial command.
async fn time(root: &Path) {
    let executor = Executor::new(None).unwrap();
    let started = Instant::now();
    for _ in 0..RUNS {
        assert_eq!(run(&executor, spec(clone_of(root), "true")).await.status, ExitStatus::Code(0));
    }
    println!("{:?}", started.elapsed() / RUNS);
}

async fn run(executor: &Executor, spec: Spec) -> Exit {
    executor.spawn(spec, Stdio::Piped).await.unwrap().wait().await.unwrap()
}

fn clone_of(path: &Path) -> OwnedFd {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).unwrap()
}

fn null() -> OwnedFd {
    fs::File::open("/dev/null").unwrap().into_parts().0.into()
}

fn spec(root: OwnedFd, command: &str) -> Spec {
    Spec {
        root: MountSource::Detached(root),
        readonly_root: false,
        args: command.split(' ').map(str::to_owned).collect(),
        env: vec!["PATH=/bin".to_owned()],
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: "sandbox".to_owned(),
        network: Network::Host,
        mounts: Vec::new(),
        clean_stubs: true,
        hosts: Some("127.0.0.1 localhost\n".to_owned()),
        resolv_conf: Some("nameserver 127.0.0.1\n".to_owned()),
        privileged: false,
        shm_size: 0,
        ulimits: Vec::new(),
    }
}
