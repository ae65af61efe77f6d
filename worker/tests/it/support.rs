//! What the worker's tests share: a state directory with a worker, trees written and read as text.
//!
//! Trees are lines of `kind mode path rest`: `d 755 a`, `f 644 a/b content`, `l - a/l target`, `h - a/c a/b` (another name of `a/b`),
//! `p 600 fifo`, `s 600 socket`, `c 600 device 1:3`. Read back, the mode is followed by ` uid:gid` where that is not 0:0.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rbuild_executor::Executor;
use rbuild_fs::{Enter, Kind, Root, walk};
use rbuild_graph::{
    ActionInput, Archive, Copy, CopySource, Edge, FileAction, FileActionKind, FileOp, InputIndex, Op, OutputIndex, Timestamp,
    Vertex, VertexDigest, VertexMeta,
};
use rbuild_oci::Platform;
use rbuild_snapshotter::{DriverChoice, Snapshotter};
use rbuild_solver::{Event, EventSink, StepContext, Worker};
use rbuild_store::{Clock, Store};
use rbuild_worker::{LocalContext, LocalWorker, Output, WorkError, WorkerOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const DRIVERS: [DriverChoice; 2] = [DriverChoice::Overlay, DriverChoice::Copy];

/// Time of everything that is made: 2001-09-09.
pub(crate) const NOW: i64 = 1_000_000_000;

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> i64 {
        NOW * 1_000_000_000
    }
}

#[derive(Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<Event>>);

impl EventSink for Events {
    fn send(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn now(&self) -> i64 {
        NOW * 1_000_000_000
    }
}

/// A state directory, some contexts, and a worker on them.
pub(crate) struct Bench {
    pub(crate) worker: LocalWorker,
    pub(crate) snapshotter: Snapshotter,
    pub(crate) events: Arc<Events>,
    pub(crate) cancel: CancellationToken,
    runtime: tokio::runtime::Runtime,
    directory: Arc<TempDir>,
}

impl Bench {
    pub(crate) fn new(driver: DriverChoice) -> Bench {
        Bench::with(driver, |_| {})
    }

    /// Contexts `context` and `base` exist and are empty.
    pub(crate) fn with(driver: DriverChoice, change: impl FnOnce(&mut WorkerOptions)) -> Bench {
        Bench::again(Arc::new(tempfile::tempdir().unwrap()), driver, change)
    }

    /// Another process on the same directories.
    pub(crate) fn reopen(&self, driver: DriverChoice, change: impl FnOnce(&mut WorkerOptions)) -> Bench {
        Bench::again(Arc::clone(&self.directory), driver, change)
    }

    fn again(directory: Arc<TempDir>, driver: DriverChoice, change: impl FnOnce(&mut WorkerOptions)) -> Bench {
        let state = directory.path().join("state");
        let store = Store::open(&state, Arc::new(FixedClock), &|root| Snapshotter::probe(root, driver)).unwrap();
        let session = store.session().unwrap();
        let snapshotter = Snapshotter::new(store, session).unwrap();
        let mut contexts = BTreeMap::new();
        for name in ["context", "base"] {
            let root = directory.path().join(name);
            fs_err::create_dir_all(&root).unwrap();
            contexts.insert(
                name.to_owned(),
                Arc::new(LocalContext { root, ignore: Vec::new(), ignore_name: ".dockerignore".to_owned() }),
            );
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = PathBuf::from(env!("CARGO_BIN_EXE_rbuild-worker-sandbox"));
        let mut options = WorkerOptions {
            snapshotter: snapshotter.clone(),
            executor: runtime.block_on(async { Executor::new(Some(sandbox)).unwrap() }),
            contexts,
            images: BTreeMap::new(),
            parallelism: 2,
            log_budget: None,
            paranoid: false,
            http: rbuild_http::Client::new(),
            secrets: BTreeMap::new(),
        };
        change(&mut options);
        Bench {
            worker: LocalWorker::new(options),
            snapshotter,
            events: Arc::default(),
            cancel: CancellationToken::new(),
            runtime,
            directory,
        }
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(crate) fn step(&self) -> StepContext {
        StepContext {
            digest: VertexDigest([7; 32]),
            meta: VertexMeta { name: "a step".to_owned(), ..VertexMeta::default() },
            cancel: self.cancel.clone(),
            events: Arc::clone(&self.events) as Arc<dyn EventSink>,
        }
    }

    pub(crate) fn execute(&self, vertex: &Vertex, inputs: Vec<Output>) -> Result<Vec<Output>, WorkError> {
        self.block_on(self.worker.execute(vertex, inputs, &self.step()))
    }

    /// Copies onto a state: input 0 is the base, input 1 what is read.
    pub(crate) fn copy(&self, base: &Output, from: &Output, copy: &Copy) -> Result<Output, WorkError> {
        let outputs = self.execute(&file_vertex(FileActionKind::Copy(copy.clone())), vec![base.clone(), from.clone()])?;
        Ok(outputs.into_iter().next().unwrap())
    }

    /// The key of what a copy reads.
    pub(crate) fn key(&self, from: &Output, copy: &Copy) -> Result<[u8; 32], WorkError> {
        let vertex = file_vertex(FileActionKind::Copy(copy.clone()));
        self.block_on(self.worker.content_key(&vertex, 1, from, &self.step())).map(|key| key.0)
    }

    /// A state with the tree that the lines describe.
    pub(crate) fn state(&self, lines: &str) -> Output {
        let base = self.directory.path().join("base");
        fs_err::remove_dir_all(&base).unwrap();
        fs_err::create_dir(&base).unwrap();
        plant(&base, lines);
        // A fresh worker, because a context is frozen at its first use.
        let fresh = self.reopen(DriverChoice::Auto, |_| {});
        let made = fresh.copy(&Output::Scratch, &Output::Local("base".to_owned()), &copy(&["/"], "/")).unwrap();
        let Output::Snapshot(snapshot) = made else { panic!("a copy gives a snapshot") };
        Output::Snapshot(self.snapshotter.open(&snapshot.id).unwrap().unwrap())
    }

    /// The whole tree of an output as lines.
    pub(crate) fn tree(&self, output: &Output) -> String {
        match self.block_on(self.worker.snapshot(output)).unwrap() {
            None => String::new(),
            Some(snapshot) => describe(self.snapshotter.driver().view(&snapshot).unwrap().root()),
        }
    }

    /// Modification time of a path in an output.
    pub(crate) fn mtime(&self, output: &Output, path: &str) -> (i64, u32) {
        let snapshot = self.block_on(self.worker.snapshot(output)).unwrap().unwrap();
        let view = self.snapshotter.driver().view(&snapshot).unwrap();
        view.root().stat(Path::new(path), false).unwrap().unwrap().mtime
    }
}

pub(crate) fn context() -> Output {
    Output::Local("context".to_owned())
}

/// A copy with everything at its default. A source with one of `*?[` is a wildcard.
pub(crate) fn copy(sources: &[&str], target: &str) -> Copy {
    let source = |path: &&str| CopySource {
        path: format!("/{}", path.trim_start_matches('/')),
        wildcard: path.contains(['*', '?', '[']),
        written: (*path).to_owned(),
    };
    Copy {
        from: ActionInput::Input(InputIndex(1)),
        sources: sources.iter().map(source).collect(),
        target: target.to_owned(),
        owner: None,
        chmod: None,
        archive: Archive::Keep,
        parents: false,
        exclude: Vec::new(),
        created: Timestamp::Now,
    }
}

/// One action on input 0, with two inputs.
pub(crate) fn file_vertex(kind: FileActionKind) -> Vertex {
    let action = FileAction { base: ActionInput::Input(InputIndex(0)), kind, output: Some(OutputIndex(0)) };
    vertex(Op::File(FileOp { actions: vec![action] }), 2)
}

pub(crate) fn vertex(op: Op, inputs: u8) -> Vertex {
    let edge = |index| Edge { vertex: VertexDigest([index; 32]), output: OutputIndex(0) };
    let platform = Platform {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        os_version: None,
        os_features: Vec::new(),
        variant: None,
    };
    Vertex { op, inputs: (0..inputs).map(edge).collect(), platform }
}

/// Makes files as the lines say.
pub(crate) fn plant(root: &Path, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ');
        let (kind, mode, path) = (words.next().unwrap(), words.next().unwrap(), root.join(words.next().unwrap()));
        let rest = words.next().unwrap_or_default();
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent).unwrap();
        }
        match kind {
            "d" => fs_err::create_dir_all(&path).unwrap(),
            "f" => fs_err::write(&path, rest).unwrap(),
            "l" => fs_err::os::unix::fs::symlink(rest, &path).unwrap(),
            "h" => fs_err::hard_link(root.join(rest), &path).unwrap(),
            "p" | "s" | "c" => node(&path, kind, rest),
            other => panic!("unknown kind {other}"),
        }
        if let Ok(mode) = u32::from_str_radix(mode, 8) {
            fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}

fn node(path: &Path, kind: &str, rest: &str) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let (file_type, device) = match kind {
        "p" => (FileType::Fifo, 0),
        "s" => (FileType::Socket, 0),
        _ => {
            let (major, minor) = rest.split_once(':').unwrap();
            (FileType::CharacterDevice, makedev(major.parse().unwrap(), minor.parse().unwrap()))
        }
    };
    mknodat(CWD, path, file_type, Mode::from(0o600), device).unwrap();
}

/// The tree as lines, in the order of a walk.
pub(crate) fn describe(root: &Root) -> String {
    let mut text = String::new();
    let mut names: HashMap<u64, String> = HashMap::new();
    for entry in walk(root, Path::new("/"), &|_, _| Enter::Yes).unwrap() {
        let (path, stat) = (entry.path.display().to_string(), &entry.stat);
        let owner = if (stat.uid, stat.gid) == (0, 0) { String::new() } else { format!(" {}:{}", stat.uid, stat.gid) };
        let mode = format!("{:o}{owner}", stat.mode);
        if stat.kind == Kind::File && stat.nlink > 1 {
            if let Some(first) = names.get(&stat.ino) {
                text += &format!("h {mode} {path} {first}\n");
                continue;
            }
            names.insert(stat.ino, path.clone());
        }
        text += &match stat.kind {
            Kind::Dir => format!("d {mode} {path}\n"),
            Kind::Symlink => format!("l -{owner} {path} {}\n", root.read_link(&entry.path).unwrap().display()),
            Kind::File if stat.size > 1 << 20 => format!("f {mode} {path} ({} bytes)\n", stat.size),
            Kind::File => {
                let content = root.read(&entry.path, 1 << 20).unwrap().unwrap();
                format!("f {mode} {path} {}", String::from_utf8_lossy(&content)).trim_end().to_owned() + "\n"
            }
            Kind::Fifo => format!("p {mode} {path}\n"),
            Kind::Socket => format!("s {mode} {path}\n"),
            Kind::CharDevice => {
                format!("c {mode} {path} {}:{}\n", rustix::fs::major(stat.rdev), rustix::fs::minor(stat.rdev))
            }
            Kind::BlockDevice => format!("b {mode} {path}\n"),
        };
    }
    text
}

/// Lines without indentation and empty lines.
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).fold(String::new(), |text, line| text + line + "\n")
}

/// Message of an error with all its causes.
pub(crate) fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
