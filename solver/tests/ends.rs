//! How solves end when something fails, is cancelled, or is shared.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use rbuild_graph::{Edge, VertexDigest};
use rbuild_solver::{SolveError, StepStatus};
use support::{Behaviour, Build, Events, Fault, Lab};
use tokio::sync::watch;

fn failing() -> Behaviour {
    Behaviour { fault: Some(Fault::Run), ..Behaviour::default() }
}

fn gated(gate: &watch::Receiver<bool>) -> Behaviour {
    Behaviour { gate: Some(gate.clone()), ..Behaviour::default() }
}

/// Waits until a step has begun.
async fn started(events: &Events, name: &str) {
    while !events.seen.lock().expect("not poisoned").contains(&(name.to_owned(), StepStatus::Started)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_first_failure_ends_all_others() {
    let lab = Lab::default();
    let (_gate, closed) = watch::channel(false);
    lab.world.behave("slow", gated(&closed));
    lab.world.behave("bad", failing());
    let mut build = Build::default();
    let base = build.add("base", &[]);
    let (slow, bad) = (build.add("slow", &[base]), build.add("bad", &[base]));
    let above = build.add("above", &[bad]);
    let join = build.add("join", &[slow, above]);
    let (outcome, events) = lab.solve(build, &[join]).await;
    let SolveError::Step { vertex, meta, source } = outcome.unwrap_err() else { panic!("not the step's failure") };
    assert_eq!((vertex, meta.name.as_str(), source.0.as_str()), (bad.vertex, "bad", "bad failed"));
    let ends = events.ends();
    assert_eq!(ends.get("bad"), Some(&StepStatus::Failed("bad failed".into())));
    assert_eq!(ends.get("base"), Some(&StepStatus::Completed));
    assert!(matches!(ends.get("slow"), None | Some(StepStatus::Cancelled)), "{ends:?}");
    assert_eq!((ends.get("above"), ends.get("join")), (None, None));
    lab.world.done();

    lab.world.behave("bad", Behaviour::default());
    lab.world.behave("slow", Behaviour::default());
    let (_, done) = lab
        .run(|build| {
            let base = build.add("base", &[]);
            let (slow, bad) = (build.add("slow", &[base]), build.add("bad", &[base]));
            let above = build.add("above", &[bad]);
            build.add("join", &[slow, above])
        })
        .await;
    assert_eq!(done, ["load base", "run above", "run bad", "run join", "run slow"], "failures were not saved, results were");
}

#[tokio::test]
async fn a_failure_of_a_content_key_is_the_steps() {
    let lab = Lab::default();
    lab.world.behave("context", Behaviour { content_only: true, ..Behaviour::default() });
    let by_content = BTreeSet::from([1]);
    lab.world.behave("copy", Behaviour { by_content, fault: Some(Fault::Content), ..Behaviour::default() });
    let mut build = Build::default();
    let (base, context) = (build.add("base", &[]), build.add("context", &[]));
    let copy = build.add("copy", &[base, context]);
    let (outcome, events) = lab.solve(build, &[copy]).await;
    assert_eq!(outcome.unwrap_err().to_string(), "failed to solve `copy`");
    assert_eq!(events.ends().get("copy"), Some(&StepStatus::Failed("no content for copy".into())));
}

#[tokio::test]
async fn a_content_key_that_only_completes_a_record_may_fail() {
    let lab = Lab::default();
    let by_content = BTreeSet::from([1]);
    lab.world.behave("copy", Behaviour { by_content, fault: Some(Fault::Content), ..Behaviour::default() });
    let make = |build: &mut Build| {
        let base = build.add("base", &[]);
        let stage = build.add("stage", &[base]);
        build.add("copy", &[base, stage])
    };
    assert_eq!(lab.run(make).await.1, ["run base", "run copy", "run stage"]);
    assert_eq!(lab.run(make).await.1, ["load copy"], "it was saved by its definition");
}

#[tokio::test]
async fn cancelling_ends_what_runs_and_waits_for_it() {
    let lab = Lab::default();
    let (_gate, closed) = watch::channel(false);
    lab.world.behave("slow", gated(&closed));
    let mut build = Build::default();
    let base = build.add("base", &[]);
    let slow = build.add("slow", &[base]);
    let last = build.add("last", &[slow]);
    let events = Arc::new(Events::default());
    let solving = tokio::spawn({
        let (lab, events) = (lab.clone(), events.clone());
        async move { lab.solve_into(build, &[last], events).await }
    });
    started(&events, "slow").await;
    lab.cancel.cancel();
    assert!(matches!(solving.await.unwrap(), Err(SolveError::Cancelled)));
    let ends: Vec<_> = events.ends().into_iter().collect();
    assert_eq!(ends, [("base".into(), StepStatus::Completed), ("slow".into(), StepStatus::Cancelled)]);
}

#[tokio::test]
async fn a_cancelled_token_begins_nothing() {
    let lab = Lab::default();
    lab.cancel.cancel();
    let mut build = Build::default();
    let base = build.add("base", &[]);
    assert!(matches!(lab.solve(build, &[base]).await.0, Err(SolveError::Cancelled)));
    assert_eq!(lab.world.done(), Vec::<String>::new());
}

#[tokio::test]
async fn waiting_for_another_build_can_be_cancelled() {
    let (lab, other) = (Lab::default(), Lab::default());
    let other = Lab { world: lab.world.clone(), records: lab.records.clone(), ..other };
    let (open, closed) = watch::channel(false);
    lab.world.behave("slow", gated(&closed));
    let make = || {
        let mut build = Build::default();
        let slow = build.add("slow", &[]);
        (build, slow)
    };
    let (events, waiting) = (Arc::new(Events::default()), Arc::new(Events::default()));
    let solve = |lab: &Lab, events: &Arc<Events>| {
        let (lab, events, (build, target)) = (lab.clone(), events.clone(), make());
        tokio::spawn(async move { lab.solve_into(build, &[target], events).await })
    };
    let first = solve(&lab, &events);
    started(&events, "slow").await;
    let second = solve(&other, &waiting);
    other.cancel.cancel();
    assert!(matches!(second.await.unwrap(), Err(SolveError::Cancelled)));
    open.send(true).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), ["slow()"]);
}

#[tokio::test]
async fn concurrent_builds_execute_a_common_step_once() {
    let lab = Lab::default();
    let (open, closed) = watch::channel(false);
    lab.world.behave("common", gated(&closed));
    let mut solving = Vec::new();
    for at in 0..4 {
        let (lab, events) = (lab.clone(), Arc::new(Events::default()));
        let mut build = Build::default();
        let base = build.add("base", &[]);
        let common = build.add("common", &[base]);
        let own = build.add(&format!("own{at}"), &[common]);
        let join = build.add("join", &[common, own]);
        solving.push(tokio::spawn(async move { lab.solve_into(build, &[join], events).await }));
    }
    while !lab.world.log.lock().unwrap().contains(&"run common".to_owned()) {
        tokio::task::yield_now().await;
    }
    open.send(true).unwrap();
    for (at, solve) in solving.into_iter().enumerate() {
        assert_eq!(solve.await.unwrap().unwrap(), [format!("join(common(base()),own{at}(common(base())))")]);
    }
    let done = lab.world.done();
    let count = |what: &str| done.iter().filter(|line| *line == what).count();
    assert_eq!((count("run common"), count("run base"), count("load common")), (1, 1, 3), "{done:?}");
}

#[tokio::test]
async fn unknown_targets_are_refused() {
    let unknown = Edge::first(VertexDigest([0; 32]));
    let (outcome, _) = Lab::default().solve(Build::default(), &[unknown]).await;
    assert_eq!(outcome.unwrap_err().to_string(), "a target is not in the graph");
}

#[tokio::test]
async fn no_targets_are_no_work() {
    assert_eq!(Lab::default().solve(Build::default(), &[]).await.0.unwrap(), Vec::<String>::new());
}

/// 910 copies in 10 chains (spec §9) and a chain of 5000 steps: the solver's own cost stays linear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_and_deep_graphs_cost_little() {
    let lab = Lab::default();
    lab.world.behave("context", Behaviour { content_only: true, ..Behaviour::default() });
    let copy = Behaviour { by_content: BTreeSet::from([1]), ..Behaviour::default() };
    for chain in 0..10 {
        for step in 0..91 {
            lab.world.behave(&format!("copy {chain} {step}"), Behaviour { value: Some(String::new()), ..copy.clone() });
        }
    }
    let copies = |build: &mut Build| {
        let (base, context) = (build.add("base", &[]), build.add("context", &[]));
        let end = |build: &mut Build, chain| {
            (0..91).fold(base, |below, step| build.add(&format!("copy {chain} {step}"), &[below, context]))
        };
        let ends: Vec<Edge> = (0..10).map(|chain| end(build, chain)).collect();
        build.add("join", &ends)
    };
    assert_eq!(lab.run(copies).await.1.len(), 913);
    let look_ups = lab.records.look_ups.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(lab.run(copies).await.1, ["load join", "run context"]);
    let again = lab.records.look_ups.load(std::sync::atomic::Ordering::Relaxed) - look_ups;
    assert!(again <= 910 * 2 + 10, "{again} look-ups");

    let deep = |build: &mut Build| {
        let base = build.add("base", &[]);
        (0..5000).fold(base, |below, step| build.add(&format!("step {step}"), &[below]))
    };
    for step in 0..5000 {
        lab.world.behave(&format!("step {step}"), Behaviour { value: Some(String::new()), ..Behaviour::default() });
    }
    assert_eq!(lab.run(deep).await.1.len(), 5001);
    assert_eq!(lab.run(deep).await.1, ["load step 4999"]);
}
