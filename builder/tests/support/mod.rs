//! A state directory with a busybox image, a context, and builds on them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rbuild_builder::{
    BuildError, BuildRequest, BuildResult, Context, Event, EventSink, OutputKind, OutputSpec, StepStatus, build,
};
use rbuild_executor::Executor;
use rbuild_exporter::{LayerOptions, LoadSource, import, tag};
use rbuild_frontend::{NoCache, Options, Source};
use rbuild_fs::archive::Codec;
use rbuild_oci::{ImageConfig, Platform, Reference};
use rbuild_snapshotter::{DriverChoice, Snapshotter, TimePolicy};
use rbuild_store::{Clock, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

struct Now;

impl Clock for Now {
    fn now(&self) -> i64 {
        now()
    }
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("this century")
}

/// Directories of one test: `state`, `context`, and whatever outputs it makes.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) snapshotter: Snapshotter,
    executor: Executor,
}

/// Keeps the events of a build.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) seen: Mutex<Vec<Event>>,
}

impl EventSink for Events {
    fn send(&self, event: Event) {
        self.seen.lock().expect("not poisoned").push(event);
    }

    fn now(&self) -> i64 {
        now()
    }
}

impl Events {
    /// Names of the Dockerfile's steps that ended in this way, without their place in it.
    pub(crate) fn steps(&self, wanted: &StepStatus) -> BTreeSet<String> {
        let seen = self.seen.lock().expect("not poisoned");
        let step = |event: &Event| match event {
            Event::Vertex { name, status, .. } if status == wanted => {
                let instruction = name.split_once("] ").filter(|(place, _)| !place.starts_with("[internal"));
                instruction.map(|(_, instruction)| instruction.to_owned())
            }
            Event::Vertex { .. } | Event::Status { .. } | Event::Log { .. } | Event::Warning { .. } => None,
        };
        seen.iter().filter_map(step).collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("not poisoned");
        let short = |event: &Event| match event {
            Event::Warning { short, .. } => Some(short.clone()),
            Event::Vertex { .. } | Event::Status { .. } | Event::Log { .. } => None,
        };
        seen.iter().filter_map(short).collect()
    }
}

impl Lab {
    /// With the image `busybox`, made of the machine's static /bin/busybox.
    pub(crate) fn new() -> Lab {
        let dir = tempfile::tempdir().expect("a directory");
        let probe = |root: &Path| Snapshotter::probe(root, DriverChoice::Auto);
        let store = Store::open(&dir.path().join("state"), Arc::new(Now), &probe).expect("a store");
        let session = store.session().expect("a session");
        let snapshotter = Snapshotter::new(store, session).expect("a snapshotter");
        let executor = Executor::new(Some(PathBuf::from(env!("CARGO_BIN_EXE_rbuild-builder-sandbox")))).expect("an executor");
        fs_err::create_dir(dir.path().join("context")).expect("a context");
        let lab = Lab { dir, snapshotter, executor };
        lab.import_busybox();
        lab
    }

    fn import_busybox(&self) {
        let root = self.dir.path().join("rootfs");
        for directory in ["bin", "etc", "tmp"] {
            fs_err::create_dir_all(root.join(directory)).expect("a directory");
        }
        fs_err::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        for applet in ["sh", "cat", "echo", "sleep", "mkdir", "touch"] {
            fs_err::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        fs_err::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("a file");
        fs_err::write(root.join("etc/group"), "root:x:0:\n").expect("a file");
        let image = import(&self.snapshotter, LoadSource::Path(root), ImageConfig::default()).expect("an image");
        tag(&self.snapshotter, &image, &[reference("busybox")]).expect("a name");
    }

    /// Writes a file of the context.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.dir.path().join("context").join(path);
        fs_err::create_dir_all(path.parent().expect("it is below the context")).expect("a directory");
        fs_err::write(path, content).expect("a file");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn request(&self, dockerfile: &str) -> BuildRequest {
        let context = Context::Directory { path: self.path("context"), ignore: None };
        BuildRequest {
            dockerfile: Source { name: "Dockerfile".into(), text: dockerfile.into() },
            options: options(),
            context,
            named_contexts: BTreeMap::new(),
            outputs: Vec::new(),
            tags: vec![reference("result")],
            pull: false,
            parallelism: 4,
            log_budget: None,
            paranoid: false,
            secrets: BTreeMap::new(),
        }
    }

    pub(crate) async fn build(&self, request: BuildRequest) -> (Result<BuildResult, BuildError>, Arc<Events>) {
        let events = Arc::new(Events::default());
        (self.build_into(request, events.clone(), CancellationToken::new()).await, events)
    }

    pub(crate) async fn build_into(
        &self,
        request: BuildRequest,
        events: Arc<Events>,
        cancel: CancellationToken,
    ) -> Result<BuildResult, BuildError> {
        build(request, self.snapshotter.clone(), self.executor.clone(), rbuild_http::Client::new(), events, cancel).await
    }
}

pub(crate) fn reference(name: &str) -> Reference {
    Reference::parse(name).expect("a reference")
}

fn options() -> Options {
    Options {
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        build_platform: Platform::host(),
        target_platform: Platform::host(),
        platform_given: false,
        no_cache: NoCache::No,
        network: None,
        allow_insecure: false,
        allow_host_network: false,
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_size: None,
        named_contexts: BTreeMap::new(),
        epoch: None,
        secrets: BTreeSet::new(),
        ssh: BTreeSet::new(),
    }
}

/// An output with gzip layers where it has any.
pub(crate) fn output(kind: OutputKind) -> OutputSpec {
    let codec = Codec::Gzip { level: 5 };
    let layer = LayerOptions { codec, times: TimePolicy::Keep, force_compression: false, oci_media_types: true };
    OutputSpec { kind, names: Vec::new(), layer, annotations: BTreeMap::new() }
}
