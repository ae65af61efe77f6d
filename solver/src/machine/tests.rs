//! The machine alone, without a runtime: which actions follow which reports.

use rbuild_graph::{
    ExecOp, InputIndex, Mount, MountKind, NetworkMode, Op, OutputIndex, ProxyEnv, SecurityMode, Vertex, VertexMeta,
};
use rbuild_oci::Platform;

use super::*;
use crate::action::{FoundOutput, Match};
use crate::{InputKey, StoredResult};

/// base ← run ← last, as vertices 0, 1 and 2; or only as many of them.
fn chain(length: usize, ignore_cache: bool) -> Machine {
    let mut graph = Graph::new();
    let mut inputs: Vec<Edge> = Vec::new();
    for position in 0..length {
        let meta = VertexMeta { ignore_cache: ignore_cache && position == 1, ..VertexMeta::default() };
        let vertex = Vertex { op: exec(position, inputs.len()), inputs, platform: platform() };
        inputs = vec![Edge::first(graph.add(vertex, meta).unwrap())];
    }
    let (mut machine, digests) = Machine::new(&graph, &inputs).unwrap();
    assert_eq!(digests.len(), length);
    let maps: Vec<Action> = (0..length).map(Action::Map).collect();
    assert_eq!(machine.take_actions(), maps, "all cache maps at once");
    for position in 0..length {
        machine.on_mapped(position, cache_map(position));
    }
    machine
}

fn platform() -> Platform {
    Platform { architecture: "amd64".into(), os: "linux".into(), os_version: None, os_features: Vec::new(), variant: None }
}

fn exec(position: usize, inputs: usize) -> Op {
    let root = Mount {
        input: (inputs > 0).then_some(InputIndex(0)),
        selector: None,
        target: "/".into(),
        output: Some(OutputIndex(0)),
        readonly: false,
        kind: MountKind::Bind,
    };
    Op::Exec(ExecOp {
        args: vec![position.to_string()],
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
        mounts: vec![root],
    })
}

fn cache_map(position: usize) -> CacheMap {
    let op = rbuild_graph::OpDigest([u8::try_from(position).unwrap(); 32]);
    CacheMap { op, roots: Vec::new(), content_only: false, inputs: vec![InputKey::default(); usize::from(position > 0)] }
}

fn asked(machine: &mut Machine) -> Vec<usize> {
    machine.take_queries().iter().map(|query| query.vertex).collect()
}

fn hit(name: &str) -> Found {
    let results = vec![StoredResult { result: ResultId(name.into()), created: 1 }];
    let matched = vec![Match { record: RecordId([7; 32]), results, missing: Vec::new() }];
    Found { outputs: vec![FoundOutput { matched, unmatched: vec![false] }] }
}

fn miss() -> Found {
    Found { outputs: vec![FoundOutput { matched: Vec::new(), unmatched: vec![true] }] }
}

fn load(vertex: usize, result: &str) -> Action {
    Action::Load { vertex, output: 0, result: ResultId(result.into()) }
}

fn executed(name: &str) -> Executed {
    Executed { results: vec![Some(ResultId(name.into()))], created: 2 }
}

fn emit(vertex: usize, status: StepStatus) -> Action {
    Action::Emit { vertex, status }
}

/// Passes over the lock of a step that is about to execute.
fn lock(machine: &mut Machine, vertex: usize) {
    let actions = machine.take_actions();
    assert!(matches!(actions.as_slice(), [Action::Lock { vertex: locked, .. }] if *locked == vertex), "{actions:?}");
    machine.on_locked(vertex);
}

#[test]
fn keys_go_up_without_results() {
    let mut machine = chain(3, false);
    for vertex in 0..3 {
        assert_eq!(asked(&mut machine), [vertex]);
        machine.on_found(vertex, if vertex == 0 { miss() } else { hit(&format!("r{vertex}")) });
    }
    assert_eq!(machine.take_actions(), [load(2, "r2")], "only the target");
    machine.on_loaded(2, 0, true);
    assert!(machine.is_finished());
    let cached = [0, 1, 2].map(|vertex| emit(vertex, StepStatus::Cached));
    assert_eq!(machine.take_actions(), cached);
}

#[test]
fn demand_goes_down_after_misses() {
    let mut machine = chain(2, false);
    assert_eq!(asked(&mut machine), [0]);
    machine.on_found(0, miss());
    assert_eq!(machine.take_actions(), [], "nobody asked for the base yet");
    assert_eq!(asked(&mut machine), [1]);
    machine.on_found(1, miss());
    lock(&mut machine, 0);
    assert_eq!(asked(&mut machine), [0], "again, under the lock");
    machine.on_found(0, miss());
    assert_eq!(machine.take_actions(), [emit(0, StepStatus::Started), Action::Execute(0)]);
    machine.on_executed(0, &executed("r0"));
    let actions = machine.take_actions();
    assert!(matches!(
        actions.as_slice(),
        [
            Action::Emit { vertex: 0, status: StepStatus::Completed },
            Action::Save { vertex: 0, .. },
            Action::Lock { vertex: 1, .. }
        ]
    ));
    machine.on_saved(0);
    assert_eq!(machine.take_actions(), [Action::Unlock(0)]);
}

#[test]
fn what_another_build_made_meanwhile_is_loaded() {
    let mut machine = chain(1, false);
    asked(&mut machine);
    machine.on_found(0, miss());
    lock(&mut machine, 0);
    asked(&mut machine);
    machine.on_found(0, hit("theirs"));
    assert_eq!(machine.take_actions(), [load(0, "theirs")]);
    machine.on_loaded(0, 0, true);
    assert_eq!(machine.take_actions(), [Action::Unlock(0), emit(0, StepStatus::Cached)]);
}

#[test]
fn a_lost_result_is_forgotten_and_not_seen_again() {
    let mut machine = chain(1, false);
    asked(&mut machine);
    machine.on_found(0, hit("gone"));
    assert_eq!(machine.take_actions(), [load(0, "gone")]);
    machine.on_loaded(0, 0, false);
    let actions = machine.take_actions();
    assert!(matches!(actions.as_slice(), [Action::Forget(_, lost), Action::Lock { .. }] if lost.0 == "gone"), "{actions:?}");
    machine.on_locked(0);
    asked(&mut machine);
    machine.on_found(0, hit("gone"));
    assert_eq!(machine.take_actions(), [emit(0, StepStatus::Started), Action::Execute(0)]);
}

#[test]
fn a_step_without_cache_is_locked_but_not_looked_up() {
    let mut machine = chain(2, true);
    assert_eq!(asked(&mut machine), [0]);
    machine.on_found(0, hit("r0"));
    assert_eq!(machine.take_actions(), [load(0, "r0")], "it will be executed in any case");
    machine.on_loaded(0, 0, true);
    assert_eq!(machine.take_actions().remove(0), emit(0, StepStatus::Cached));
    machine.on_locked(1);
    assert_eq!(asked(&mut machine), [0usize; 0]);
    assert_eq!(machine.take_actions(), [emit(1, StepStatus::Started), Action::Execute(1)]);
}

#[test]
fn stopping_begins_nothing_but_saves_what_is_done() {
    let mut machine = chain(1, false);
    asked(&mut machine);
    machine.on_found(0, miss());
    lock(&mut machine, 0);
    asked(&mut machine);
    machine.on_found(0, miss());
    machine.take_actions();
    machine.stop();
    machine.on_executed(0, &executed("r0"));
    let actions = machine.take_actions();
    assert!(matches!(actions.as_slice(), [Action::Emit { .. }, Action::Save { vertex: 0, .. }]), "{actions:?}");
}
