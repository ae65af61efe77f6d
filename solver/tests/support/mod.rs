//! A world of fake steps: values instead of file systems, records in memory, and counters of all that is done.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rbuild_graph::{
    Edge, ExecOp, Graph, InputIndex, Mount, MountKind, NetworkMode, Op, OutputIndex, ProxyEnv, SecurityMode, Vertex,
    VertexDigest, VertexMeta,
};
use rbuild_solver::{
    CacheMap, ContentKey, Event, EventSink, InputKey, Link, RecordError, RecordId, Records, ResultId, RootKey, SelectorDigest,
    SolveError, StepContext, StepStatus, StoredResult, Worker, solve,
};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

/// 32 bytes that stand for `text`.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    let mut to = rbuild_graph::Encoder::new("test");
    to.text(text);
    to.finish()
}

/// Records in memory, shared by solves.
#[derive(Default)]
pub(crate) struct MemoryRecords {
    links: Mutex<BTreeMap<Link, BTreeSet<RecordId>>>,
    results: Mutex<BTreeMap<RecordId, Vec<StoredResult>>>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) writes: AtomicU64,
    pub(crate) look_ups: AtomicU64,
    pub(crate) forgotten: AtomicU64,
}

impl Records for MemoryRecords {
    type Lock = OwnedMutexGuard<()>;

    fn children(&self, links: &[Link]) -> Result<Vec<RecordId>, RecordError> {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        let table = self.links.lock().expect("not poisoned");
        let found: BTreeSet<RecordId> = links.iter().filter_map(|link| table.get(link)).flatten().copied().collect();
        Ok(found.into_iter().collect())
    }

    fn link(&self, child: RecordId, links: &[Link]) -> Result<(), RecordError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut table = self.links.lock().expect("not poisoned");
        for link in links {
            table.entry(link.clone()).or_default().insert(child);
        }
        Ok(())
    }

    fn results(&self, record: RecordId) -> Result<Vec<StoredResult>, RecordError> {
        Ok(self.results.lock().expect("not poisoned").get(&record).cloned().unwrap_or_default())
    }

    fn save(&self, record: RecordId, result: &ResultId, created: i64) -> Result<(), RecordError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut table = self.results.lock().expect("not poisoned");
        table.entry(record).or_default().insert(0, StoredResult { result: result.clone(), created });
        Ok(())
    }

    fn forget(&self, record: RecordId, result: &ResultId) -> Result<(), RecordError> {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
        let mut table = self.results.lock().expect("not poisoned");
        table.entry(record).or_default().retain(|stored| stored.result != *result);
        Ok(())
    }

    async fn lock(&self, name: String) -> Result<Self::Lock, RecordError> {
        let lock = self.locks.lock().expect("not poisoned").entry(name).or_default().clone();
        Ok(lock.lock_owned().await)
    }
}

impl MemoryRecords {
    /// Forgets all results, but not what leads to them.
    pub(crate) fn drop_results(&self) {
        self.results.lock().expect("not poisoned").clear();
    }
}

/// What a fake step does; by default its value is `name(inputs)`.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// Only its content identifies it.
    pub(crate) content_only: bool,
    /// Keys of a source.
    pub(crate) roots: Vec<String>,
    /// Inputs of which only the part before the first `|` is read, so that equal parts may stand for them.
    pub(crate) by_content: BTreeSet<usize>,
    /// The value, instead of the default.
    pub(crate) value: Option<String>,
    /// Whether each execution gives another value.
    pub(crate) impure: bool,
    pub(crate) fault: Option<Fault>,
    /// Runs until it is cancelled, or until the gate opens.
    pub(crate) gate: Option<watch::Receiver<bool>>,
}

/// How a step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Executing it fails.
    Run,
    /// Its content keys cannot be computed.
    Content,
}

/// Values that were saved, across builds: the fake state directory.
#[derive(Default)]
pub(crate) struct World {
    saved: Mutex<HashMap<ResultId, String>>,
    next: AtomicU64,
    pub(crate) behaviours: Mutex<HashMap<String, Behaviour>>,
    /// What was done, in order: `run x`, `load x`, `key x`, `map x`.
    pub(crate) log: Mutex<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) text: String,
    id: Option<ResultId>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) String);

impl World {
    pub(crate) fn behave(&self, name: &str, behaviour: Behaviour) {
        self.behaviours.lock().expect("not poisoned").insert(name.to_owned(), behaviour);
    }

    fn behaviour(&self, vertex: &Vertex) -> Behaviour {
        self.behaviours.lock().expect("not poisoned").get(name(vertex)).cloned().unwrap_or_default()
    }

    pub(crate) fn note(&self, what: &str, vertex: &Vertex) {
        self.log.lock().expect("not poisoned").push(format!("{what} {}", name(vertex)));
    }

    pub(crate) fn lose_all(&self) {
        self.saved.lock().expect("not poisoned").clear();
    }

    /// What was done since the last call, sorted: `map` and `key` are left out.
    pub(crate) fn done(&self) -> Vec<String> {
        let mut done = std::mem::take(&mut *self.log.lock().expect("not poisoned"));
        done.retain(|line| line.starts_with("run ") || line.starts_with("load "));
        done.sort();
        done
    }
}

pub(crate) fn name(vertex: &Vertex) -> &str {
    match &vertex.op {
        Op::Exec(exec) => &exec.args[0],
        Op::Source(_) | Op::File(_) | Op::Merge(_) | Op::Diff(_) => panic!("only processes are faked"),
    }
}

/// What is read of a value by content.
pub(crate) fn selected(value: &str) -> &str {
    value.split('|').next().unwrap_or(value)
}

impl Worker for World {
    type Output = Value;
    type Error = Failure;

    async fn cache_map(&self, vertex: &Vertex, _: &StepContext) -> Result<CacheMap, Failure> {
        tokio::task::yield_now().await;
        self.note("map", vertex);
        let behaviour = self.behaviour(vertex);
        let input = |input: usize| {
            let by_content = behaviour.by_content.contains(&input);
            InputKey { selector: by_content.then(|| SelectorDigest(hash("selector"))), by_content }
        };
        Ok(CacheMap {
            op: vertex.op_digest(),
            roots: behaviour.roots.iter().map(|root| RootKey(hash(root))).collect(),
            content_only: behaviour.content_only,
            inputs: (0..vertex.inputs.len()).map(input).collect(),
        })
    }

    async fn content_key(&self, vertex: &Vertex, input: usize, output: &Value, _: &StepContext) -> Result<ContentKey, Failure> {
        tokio::task::yield_now().await;
        self.note("key", vertex);
        let behaviour = self.behaviour(vertex);
        if behaviour.fault == Some(Fault::Content) {
            return Err(Failure(format!("no content for {}", name(vertex))));
        }
        let read = if behaviour.by_content.contains(&input) { selected(&output.text) } else { &output.text };
        Ok(ContentKey(hash(read)))
    }

    async fn execute(&self, vertex: &Vertex, inputs: Vec<Value>, step: &StepContext) -> Result<Vec<Value>, Failure> {
        self.note("run", vertex);
        let behaviour = self.behaviour(vertex);
        if let Some(mut gate) = behaviour.gate.clone() {
            let opened = step.cancel.run_until_cancelled(gate.wait_for(|open| *open)).await;
            opened.ok_or_else(|| Failure("cancelled".into()))?.expect("the test holds the gate");
        }
        tokio::task::yield_now().await;
        if behaviour.fault == Some(Fault::Run) {
            return Err(Failure(format!("{} failed", name(vertex))));
        }
        let read = |(at, value): (usize, &Value)| {
            let read = if behaviour.by_content.contains(&at) { selected(&value.text) } else { &value.text };
            read.to_owned()
        };
        let inputs: Vec<String> = inputs.iter().enumerate().map(read).collect();
        let value = behaviour.value.clone().unwrap_or_else(|| format!("{}({})", name(vertex), inputs.join(",")));
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let suffix = if behaviour.impure { format!("|{count}") } else { String::new() };
        let output = |output: usize| {
            let text = if output == 0 { format!("{value}{suffix}") } else { format!("{value}{suffix}#{output}") };
            let id = (!behaviour.content_only).then(|| ResultId(format!("r{count}.{output}")));
            if let Some(id) = &id {
                self.saved.lock().expect("not poisoned").insert(id.clone(), text.clone());
            }
            Value { text, id }
        };
        Ok((0..vertex.outputs()).map(output).collect())
    }

    fn result_id(&self, output: &Value) -> Option<ResultId> {
        output.id.clone()
    }

    async fn load(&self, vertex: &Vertex, _: OutputIndex, result: &ResultId) -> Result<Option<Value>, Failure> {
        tokio::task::yield_now().await;
        self.note("load", vertex);
        let saved = self.saved.lock().expect("not poisoned").get(result).cloned();
        Ok(saved.map(|text| Value { text, id: Some(result.clone()) }))
    }
}

/// Time for all solves of a test process.
static CLOCK: AtomicI64 = AtomicI64::new(0);

/// Keeps all events; its time is a counter.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) seen: Mutex<Vec<(String, StepStatus)>>,
}

impl EventSink for Events {
    fn send(&self, event: Event) {
        if let Event::Vertex { name, status, .. } = event {
            self.seen.lock().expect("not poisoned").push((name, status));
        }
    }

    fn now(&self) -> i64 {
        CLOCK.fetch_add(1, Ordering::Relaxed)
    }
}

impl Events {
    /// Terminal events by name, after checking that none has two and that nothing comes after it.
    pub(crate) fn ends(&self) -> BTreeMap<String, StepStatus> {
        let mut ends = BTreeMap::new();
        for (name, status) in self.seen.lock().expect("not poisoned").iter() {
            assert!(!ends.contains_key(name), "{name} goes on after its end");
            if *status != StepStatus::Started {
                ends.insert(name.clone(), status.clone());
            }
        }
        ends
    }
}

/// Makes graphs of fake steps.
#[derive(Default)]
pub(crate) struct Build {
    pub(crate) graph: Graph,
    pub(crate) no_cache: BTreeSet<String>,
}

impl Build {
    pub(crate) fn add(&mut self, name: &str, inputs: &[Edge]) -> Edge {
        Edge::first(self.add_outputs(name, inputs, 1))
    }

    pub(crate) fn add_outputs(&mut self, name: &str, inputs: &[Edge], outputs: u32) -> VertexDigest {
        let mount = |at: u32| Mount {
            input: (at < u32::try_from(inputs.len()).expect("few inputs")).then_some(InputIndex(at)),
            selector: None,
            target: if at == 0 { "/".into() } else { format!("/{at}") },
            output: (at < outputs).then_some(OutputIndex(at)),
            readonly: false,
            kind: MountKind::Bind,
        };
        let count = u32::try_from(inputs.len()).expect("few inputs").max(outputs).max(1);
        let op = Op::Exec(ExecOp {
            args: vec![name.to_owned()],
            env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            hostname: String::new(),
            network: NetworkMode::Sandbox,
            security: SecurityMode::Sandbox,
            extra_hosts: Vec::new(),
            ulimits: Vec::new(),
            shm_size: None,
            cgroup_parent: None,
            proxy: ProxyEnv::default(),
            secret_env: Vec::new(),
            mounts: (0..count).map(mount).collect(),
        });
        let platform = rbuild_oci::Platform {
            architecture: "amd64".into(),
            os: "linux".into(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
        };
        let meta = VertexMeta { name: name.to_owned(), ignore_cache: self.no_cache.contains(name), ..VertexMeta::default() };
        self.graph.add(Vertex { op, inputs: inputs.to_vec(), platform }, meta).expect("the vertex is fine")
    }
}

/// A state directory and a worker, for several solves.
#[derive(Clone, Default)]
pub(crate) struct Lab {
    pub(crate) world: Arc<World>,
    pub(crate) records: Arc<MemoryRecords>,
    pub(crate) cancel: CancellationToken,
}

pub(crate) type Outcome = Result<Vec<String>, SolveError<Failure>>;

impl Lab {
    pub(crate) async fn solve(&self, build: Build, targets: &[Edge]) -> (Outcome, Arc<Events>) {
        let events = Arc::new(Events::default());
        (self.solve_into(build, targets, events.clone()).await, events)
    }

    pub(crate) async fn solve_into(&self, build: Build, targets: &[Edge], events: Arc<Events>) -> Outcome {
        let graph = Arc::new(build.graph);
        let outputs = solve(graph, targets, self.world.clone(), self.records.clone(), events, self.cancel.clone()).await?;
        Ok(outputs.into_iter().map(|value| value.text).collect())
    }

    /// Solves, and says the target's value and what was done.
    pub(crate) async fn run(&self, make: impl FnOnce(&mut Build) -> Edge) -> (String, Vec<String>) {
        let mut build = Build::default();
        let target = make(&mut build);
        let reachable = build.graph.reachable(&[target]).expect("the target is in the graph").len();
        let (outcome, events) = self.solve(build, &[target]).await;
        let value = outcome.expect("the solve succeeds").remove(0);
        assert_eq!(events.ends().len(), reachable, "each vertex ends once");
        (value, self.world.done())
    }
}
