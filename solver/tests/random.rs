//! Random graphs in random worlds against a naive recursive evaluator.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rbuild_graph::Edge;
use support::{Behaviour, Build, Fault, Lab, selected};
use tokio::runtime::Runtime;

#[derive(Clone, Debug)]
struct Step {
    kind: Kind,
    /// Indexes modulo the steps before.
    inputs: Vec<usize>,
    /// For each input but the first, whether it is matched by content.
    by_content: Vec<bool>,
    /// Reduces its value to so many classes before the `|`; 0 keeps it.
    classes: usize,
    no_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Image,
    Local,
    Step,
}

/// What happens before a build.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    /// A source has another content.
    Source(usize, u8),
    LoseResults,
    LoseRecords,
    ToggleCache(usize),
    /// Another step.
    Edit(usize, u8),
    /// A step fails in this build.
    Fail(usize),
    /// Two builds at once.
    Twice,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![1 => Just(Kind::Image), 1 => Just(Kind::Local), 6 => Just(Kind::Step)];
    let inputs = prop::collection::vec(any::<prop::sample::Index>(), 1..4);
    (kind, inputs, prop::collection::vec(any::<bool>(), 4), 0usize..4, prop::bool::weighted(0.1)).prop_map(
        |(kind, inputs, by_content, classes, no_cache)| Step {
            kind,
            inputs: inputs.iter().map(|index| index.index(1 << 16)).collect(),
            by_content,
            classes,
            no_cache,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Nothing),
        4 => (0usize..64, 0u8..3).prop_map(|(at, value)| Change::Source(at, value)),
        1 => Just(Change::LoseResults),
        1 => Just(Change::LoseRecords),
        1 => (0usize..64).prop_map(Change::ToggleCache),
        2 => (0usize..64, 0u8..3).prop_map(|(at, value)| Change::Edit(at, value)),
        1 => (0usize..64).prop_map(Change::Fail),
        1 => Just(Change::Twice),
    ]
}

/// The graph as it is now: contents of sources, editions of steps.
struct Model {
    steps: Vec<Step>,
    contents: BTreeMap<usize, u8>,
    editions: BTreeMap<usize, u8>,
}

impl Model {
    fn apply(&mut self, change: &Change, lab: &Lab) {
        let count = self.steps.len();
        match *change {
            Change::Nothing | Change::Fail(_) | Change::Twice => {}
            Change::Source(at, value) => drop(self.contents.insert(at % count, value)),
            Change::LoseResults => lab.world.lose_all(),
            Change::LoseRecords => lab.records.drop_results(),
            Change::ToggleCache(at) => self.steps[at % count].no_cache ^= true,
            Change::Edit(at, value) => drop(self.editions.insert(at % count, value)),
        }
    }

    fn is_source(&self, at: usize) -> bool {
        at == 0 || self.steps[at].kind != Kind::Step
    }

    fn inputs(&self, at: usize) -> Vec<usize> {
        if self.is_source(at) { Vec::new() } else { self.steps[at].inputs.iter().map(|input| input % at).collect() }
    }

    fn is_by_content(&self, at: usize, input: usize) -> bool {
        input > 0 && self.steps[at].by_content[input]
    }

    fn name(&self, at: usize) -> String {
        format!("s{at}e{}", self.editions.get(&at).copied().unwrap_or(0))
    }

    /// The naive evaluator, and the behaviour of each step: its value is fixed beforehand.
    fn values(&self) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let read = |(input, source): (usize, usize)| {
                if self.is_by_content(at, input) { selected(&values[source]).to_owned() } else { values[source].clone() }
            };
            let value = if self.is_source(at) {
                format!("source{}", self.contents.get(&at).copied().unwrap_or(0))
            } else {
                let inputs: Vec<String> = self.inputs(at).into_iter().enumerate().map(read).collect();
                short(&format!("{}({})", self.name(at), inputs.join(",")))
            };
            values.push(match step.classes {
                0 => value,
                classes => format!("c{}|{value}", usize::from(support::hash(&value)[0]) % classes),
            });
        }
        values
    }

    fn build(&self, lab: &Lab) -> (Build, Edge, Vec<String>) {
        let (mut build, values) = (Build::default(), self.values());
        let mut edges: Vec<Edge> = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let name = self.name(at);
            let inputs: Vec<Edge> = self.inputs(at).into_iter().map(|input| edges[input]).collect();
            let is_local = self.is_source(at) && step.kind == Kind::Local;
            let is_image = self.is_source(at) && !is_local;
            lab.world.behave(
                &name,
                Behaviour {
                    content_only: is_local,
                    roots: if is_image { vec![format!("{at} {}", values[at])] } else { Vec::new() },
                    by_content: (0..inputs.len()).filter(|&input| self.is_by_content(at, input)).collect(),
                    value: Some(values[at].clone()),
                    ..Behaviour::default()
                },
            );
            if step.no_cache {
                build.no_cache.insert(name.clone());
            }
            edges.push(build.add(&name, &inputs));
        }
        (build, *edges.last().expect("there is a step"), values)
    }
}

fn short(value: &str) -> String {
    support::hash(value).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn check(steps: Vec<Step>, changes: &[Change]) {
    let lab = Lab::default();
    let mut model = Model { steps, contents: BTreeMap::new(), editions: BTreeMap::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for change in changes {
        model.apply(change, &lab);
        match change {
            Change::Fail(at) => check_failure(&model, &lab, &runtime, at % model.steps.len()),
            Change::Twice => check_twice(&model, &lab, &runtime),
            Change::Nothing
            | Change::Source(..)
            | Change::LoseResults
            | Change::LoseRecords
            | Change::ToggleCache(_)
            | Change::Edit(..) => check_build(&model, &lab, &runtime, change),
        }
    }
    check_build(&model, &lab, &runtime, &Change::Nothing);
    check_rebuild(&model, &lab, &runtime);
}

fn check_build(model: &Model, lab: &Lab, runtime: &Runtime, change: &Change) {
    let (build, target, values) = model.build(lab);
    let reachable = build.graph.reachable(&[target]).expect("the target is in the graph").len();
    let (outcome, events) = runtime.block_on(lab.solve(build, &[target]));
    assert_eq!(&outcome.expect("nothing fails")[0], values.last().expect("there is a step"), "after {change:?}");
    assert_eq!(events.ends().len(), reachable);
    let done = lab.world.done();
    let runs: Vec<&String> = done.iter().filter(|line| line.starts_with("run ")).collect();
    assert_eq!(runs.len(), runs.iter().collect::<BTreeSet<_>>().len(), "each runs at most once: {done:?}");
}

/// A build in which a step fails ends with that, or did not need the step.
fn check_failure(model: &Model, lab: &Lab, runtime: &Runtime, at: usize) {
    let (build, target, values) = model.build(lab);
    let name = model.name(at);
    let broken = |behaviour: &mut Behaviour| behaviour.fault = Some(Fault::Run);
    broken(lab.world.behaviours.lock().expect("not poisoned").get_mut(&name).expect("every step behaves"));
    let (outcome, events) = runtime.block_on(lab.solve(build, &[target]));
    match outcome {
        Ok(found) => assert_eq!(&found[0], values.last().expect("there is a step")),
        Err(error) => assert_eq!(error.to_string(), format!("failed to solve `{name}`")),
    }
    events.ends();
    lab.world.done();
}

/// Two builds share all that they can, and both are right.
fn check_twice(model: &Model, lab: &Lab, runtime: &Runtime) {
    let (left, target, values) = model.build(lab);
    let (right, _, _) = model.build(lab);
    let targets = [target];
    let both = async { tokio::join!(lab.solve(left, &targets), lab.solve(right, &targets)) };
    let ((left, _), (right, _)) = runtime.block_on(both);
    for outcome in [left, right] {
        assert_eq!(&outcome.expect("nothing fails")[0], values.last().expect("there is a step"));
    }
    lab.world.done();
}

/// Once more: only what may not be cached runs, and at most the target is loaded when everything may.
fn check_rebuild(model: &Model, lab: &Lab, runtime: &Runtime) {
    let (build, target, _) = model.build(lab);
    let must_run: BTreeSet<String> = (0..model.steps.len())
        .filter(|&at| model.steps[at].no_cache || (model.is_source(at) && model.steps[at].kind == Kind::Local))
        .map(|at| format!("run {}", model.name(at)))
        .collect();
    let no_cache = model.steps.iter().any(|step| step.no_cache);
    let (outcome, _) = runtime.block_on(lab.solve(build, &[target]));
    outcome.expect("nothing fails");
    let done = lab.world.done();
    if !no_cache {
        assert!(done.iter().all(|line| line.starts_with("load ") || must_run.contains(line)), "{done:?} of {must_run:?}");
        assert!(done.iter().filter(|line| line.starts_with("load ")).count() <= 1, "{done:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn results_are_those_of_a_naive_evaluator(
        steps in prop::collection::vec(step(), 1..14),
        changes in prop::collection::vec(change(), 1..7),
    ) {
        check(steps, &changes);
    }
}
