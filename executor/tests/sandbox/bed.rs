//! A root file system, an executor, and what a command did.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fs_err as fs;
use rbuild_executor::{Executor, ExecutorError, Exit, ExitStatus, Network, Process, Spec, Stdio};
use rbuild_fs::MountSource;
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use tempfile::TempDir;

pub(crate) const CHILD: &str = env!("CARGO_BIN_EXE_rbuild-sandbox-test");

const APPLETS: [&str; 26] = [
    "sh", "cat", "ls", "id", "sleep", "true", "false", "stat", "hostname", "mount", "touch", "mkdir", "echo", "env", "pwd",
    "kill", "dd", "stty", "tty", "ip", "df", "yes", "readlink", "head", "mknod", "rm",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwheel:x:10:app\napp:x:1001:\naudio:x:29:root,app\n";

/// A root file system in a temporary directory.
pub(crate) struct Bed {
    directory: TempDir,
}

pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// One executor for all tests of this process.
pub(crate) fn executor() -> Executor {
    static EXECUTOR: OnceLock<Executor> = OnceLock::new();
    EXECUTOR.get_or_init(|| Executor::new(Some(PathBuf::from(CHILD))).unwrap()).clone()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Bed {
    /// busybox, and passwd and group in /etc.
    pub(crate) fn new() -> Bed {
        let bed = Bed::bare();
        for directory in ["bin", "etc", "tmp", "home/app", "proc", "sys", "dev"] {
            fs::create_dir_all(bed.path(directory)).unwrap();
        }
        copy_busybox(&bed.path("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", bed.path("bin").join(applet)).unwrap();
        }
        fs::write(bed.path("etc/passwd"), PASSWD).unwrap();
        fs::write(bed.path("etc/group"), GROUP).unwrap();
        bed
    }

    /// Nothing but a static program `/busybox`.
    pub(crate) fn scratch() -> Bed {
        let bed = Bed::bare();
        copy_busybox(&bed.path("busybox"));
        bed
    }

    fn bare() -> Bed {
        let bed = Bed { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(bed.path("")).unwrap();
        bed
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join("root").join(inside)
    }

    /// Beside the root, outside of it.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn spec(&self, args: &[&str]) -> Spec {
        Spec {
            root: MountSource::Detached(clone_of(&self.path(""))),
            readonly_root: false,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec!["PATH=/sbin:/bin".to_owned()],
            cwd: "/".to_owned(),
            user: String::new(),
            hostname: "sandbox".to_owned(),
            network: Network::None,
            mounts: Vec::new(),
            clean_stubs: true,
            hosts: None,
            resolv_conf: None,
            privileged: false,
            shm_size: 0,
            ulimits: Vec::new(),
        }
    }

    pub(crate) fn shell(&self, script: &str) -> Spec {
        self.spec(&["sh", "-c", script])
    }

    /// Everything in the root, sorted.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut all = Vec::new();
        list(&self.path(""), &self.path(""), &mut all);
        all.sort();
        all
    }
}

/// In another process: a descriptor open for writing here could be inherited by a child that another thread starts at this moment, and a
/// program that somebody can write to is not executed (ETXTBSY).
fn copy_busybox(to: &Path) {
    assert!(Command::new("/bin/cp").args([Path::new("/bin/busybox"), to]).status().unwrap().success());
}

fn list(root: &Path, directory: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        all.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        if entry.file_type().unwrap().is_dir() {
            list(root, &entry.path(), all);
        }
    }
}

pub(crate) fn clone_of(path: &Path) -> OwnedFd {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).unwrap()
}

pub(crate) async fn start(spec: Spec) -> Result<Process, ExecutorError> {
    executor().spawn(spec, Stdio::Piped).await
}

/// Runs to the end.
pub(crate) async fn finish(spec: Spec) -> Result<Outcome, ExecutorError> {
    let mut process = start(spec).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(chunk) = process.output().await {
        if chunk.stderr { &mut stderr } else { &mut stdout }.extend(chunk.bytes);
    }
    let exit = process.wait().await?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ok(Outcome { exit, stdout: text(stdout), stderr: text(stderr) })
}

pub(crate) fn run(spec: Spec) -> Result<Outcome, ExecutorError> {
    runtime().block_on(finish(spec))
}

/// Standard output of a command that succeeds.
#[track_caller]
pub(crate) fn stdout(spec: Spec) -> String {
    let outcome = match run(spec) {
        Ok(outcome) => outcome,
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    };
    assert_eq!(outcome.exit.status, ExitStatus::Code(0), "stdout {:?} stderr {:?}", outcome.stdout, outcome.stderr);
    outcome.stdout
}
