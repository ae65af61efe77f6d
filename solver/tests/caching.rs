//! What hits, what is executed, and what is loaded.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use rbuild_graph::{Edge, OutputIndex};
use rbuild_solver::StepStatus;
use support::{Behaviour, Build, Lab};

fn root(key: &str) -> Behaviour {
    Behaviour { roots: vec![key.into()], ..Behaviour::default() }
}

fn local(value: &str) -> Behaviour {
    Behaviour { content_only: true, value: Some(value.into()), ..Behaviour::default() }
}

fn copy() -> Behaviour {
    Behaviour { by_content: BTreeSet::from([1]), ..Behaviour::default() }
}

fn impure() -> Behaviour {
    Behaviour { impure: true, ..Behaviour::default() }
}

/// base → run → copy(context) → last.
fn chain(build: &mut Build) -> Edge {
    let base = build.add("base", &[]);
    let context = build.add("context", &[]);
    let run = build.add("run", &[base]);
    let copy = build.add("copy", &[run, context]);
    build.add("last", &[copy])
}

fn lab(context: &str) -> Lab {
    let lab = Lab::default();
    lab.world.behave("base", root("sha256:1"));
    lab.world.behave("context", local(context));
    lab.world.behave("copy", copy());
    lab
}

#[tokio::test]
async fn a_cached_build_loads_only_its_target() {
    let lab = lab("a|x");
    let (value, done) = lab.run(chain).await;
    assert_eq!(value, "last(copy(run(base()),a))");
    assert_eq!(done, ["run base", "run context", "run copy", "run last", "run run"]);
    let writes = lab.records.writes.load(Ordering::Relaxed);
    assert_eq!(lab.run(chain).await, (value, vec!["load last".into(), "run context".into()]));
    assert_eq!(lab.records.writes.load(Ordering::Relaxed), writes, "an unchanged build writes nothing");
}

#[tokio::test]
async fn content_that_is_read_decides() {
    let lab = lab("a|x");
    lab.run(chain).await;
    lab.world.behave("context", local("a|other"));
    assert_eq!(lab.run(chain).await.1, ["load last", "run context"]);
    lab.world.behave("context", local("b|x"));
    let (value, done) = lab.run(chain).await;
    assert_eq!(value, "last(copy(run(base()),b))");
    assert_eq!(done, ["load run", "run context", "run copy", "run last"]);
    lab.world.behave("context", local("a|again"));
    assert_eq!(lab.run(chain).await.0, "last(copy(run(base()),a))");
}

#[tokio::test]
async fn another_base_changes_everything_above() {
    let lab = lab("a");
    lab.run(chain).await;
    lab.world.behave("base", root("sha256:2"));
    assert_eq!(lab.run(chain).await.1, ["run base", "run context", "run copy", "run last", "run run"]);
}

#[tokio::test]
async fn alternative_keys_of_a_source_are_the_same_source() {
    let lab = lab("a");
    lab.world.behave("base", Behaviour { roots: vec!["manifest 1".into(), "chain".into()], ..Behaviour::default() });
    lab.run(chain).await;
    lab.world.behave("base", Behaviour { roots: vec!["manifest 2".into(), "chain".into()], ..Behaviour::default() });
    assert_eq!(lab.run(chain).await.1, ["load last", "run context"]);
}

/// A copy from a stage whose step is executed again.
fn stages(build: &mut Build) -> Edge {
    let base = build.add("base", &[]);
    let first = build.add("compile", &[base]);
    let tidy = build.add("tidy", &[first]);
    let copy = build.add("copy", &[base, tidy]);
    build.add("last", &[copy])
}

#[tokio::test]
async fn a_copy_of_the_same_files_hits_although_its_stage_ran_again() {
    let lab = lab("");
    let compile = |value: &str| Behaviour { value: Some(value.into()), ..Behaviour::default() };
    lab.world.behave("compile", Behaviour { roots: vec!["v1".into()], ..compile("binary") });
    lab.world.behave("tidy", Behaviour { value: Some("binary|1".into()), ..Behaviour::default() });
    let (value, done) = lab.run(stages).await;
    assert_eq!(done, ["run base", "run compile", "run copy", "run last", "run tidy"]);

    // Another base for the stage alone: it runs again, but gives the same binary.
    let other = |build: &mut Build| {
        let base = build.add("base", &[]);
        let tools = build.add("tools", &[]);
        let first = build.add("compile", &[tools]);
        let tidy = build.add("tidy", &[first]);
        let copy = build.add("copy", &[base, tidy]);
        build.add("last", &[copy])
    };
    assert_eq!(
        lab.run(other).await,
        (value.clone(), ["load last", "run compile", "run tidy", "run tools"].map(String::from).to_vec())
    );
    // Definition and content have converged, so now nothing runs.
    assert_eq!(lab.run(other).await, (value, vec!["load last".into()]));
}

#[tokio::test]
async fn a_cold_copy_hashes_its_content_only_to_save_it() {
    let lab = lab("");
    lab.run(stages).await;
    // Same stage content from elsewhere, on an unknown base: the content key cannot help, so the stage and the base are taken at once.
    lab.world.behave("base", root("sha256:2"));
    assert_eq!(lab.run(stages).await.1, ["run base", "run compile", "run copy", "run last", "run tidy"]);
}

#[tokio::test]
async fn unreachable_steps_are_not_touched() {
    let lab = lab("");
    let make = |build: &mut Build| {
        let base = build.add("base", &[]);
        build.add("aside", &[base]);
        build.add("run", &[base])
    };
    let mut build = Build::default();
    let target = make(&mut build);
    let (outcome, events) = lab.solve(build, &[target]).await;
    assert_eq!(outcome.unwrap(), ["run(base())"]);
    assert!(!events.ends().contains_key("aside"));
    assert!(!lab.world.log.lock().unwrap().iter().any(|line| line.ends_with("aside")));
}

#[tokio::test]
async fn a_diamond_runs_its_corner_once() {
    let lab = lab("");
    let diamond = |build: &mut Build| {
        let base = build.add("base", &[]);
        let (left, right) = (build.add("left", &[base]), build.add("right", &[base]));
        build.add("join", &[left, right])
    };
    let (value, done) = lab.run(diamond).await;
    assert_eq!(value, "join(left(base()),right(base()))");
    assert_eq!(done, ["run base", "run join", "run left", "run right"]);
    assert_eq!(lab.run(diamond).await.1, ["load join"]);
}

#[tokio::test]
async fn a_step_without_cache_runs_and_replaces_what_was_known() {
    let lab = lab("");
    lab.world.behave("run", impure());
    let chain = |build: &mut Build| {
        let base = build.add("base", &[]);
        let run = build.add("run", &[base]);
        build.add("last", &[run])
    };
    let (first, _) = lab.run(chain).await;
    let again = |build: &mut Build| {
        build.no_cache.insert("run".into());
        chain(build)
    };
    let (second, done) = lab.run(again).await;
    assert_eq!(done, ["load base", "run last", "run run"], "what is above sees the new result");
    assert_ne!(first, second);
    assert_eq!(lab.run(chain).await, (second, vec!["load last".into()]), "the newest wins");
}

#[tokio::test]
async fn what_was_made_from_a_replaced_result_is_not_used() {
    let lab = lab("");
    lab.world.behave("run", impure());
    let run = |build: &mut Build| {
        let base = build.add("base", &[]);
        build.add("run", &[base])
    };
    let more = |build: &mut Build| {
        let run = run(build);
        build.add("more", &[run])
    };
    lab.run(more).await;
    for _ in 0..2 {
        let (renewed, _) = lab
            .run(|build| {
                build.no_cache.insert("run".into());
                run(build)
            })
            .await;
        assert_eq!(lab.run(more).await, (format!("more({renewed})"), vec!["load run".into(), "run more".into()]));
    }
}

#[tokio::test]
async fn a_copy_hits_by_content_above_a_step_without_cache() {
    let lab = lab("");
    lab.world.behave("tidy", Behaviour { value: Some("binary".into()), impure: true, ..Behaviour::default() });
    lab.run(stages).await;
    let again = |build: &mut Build| {
        build.no_cache.insert("tidy".into());
        stages(build)
    };
    assert_eq!(lab.run(again).await.1, ["load compile", "load last", "run tidy"]);
}

#[tokio::test]
async fn all_outputs_are_kept_and_loaded_alone() {
    let lab = lab("");
    let two = |build: &mut Build, wanted: u32| {
        let base = build.add("base", &[]);
        let vertex = build.add_outputs("two", &[base], 2);
        let edge = |output| Edge { vertex, output: OutputIndex(output) };
        let last = build.add(&format!("last{wanted}"), &[edge(wanted)]);
        build.add("join", &[last, edge(0)])
    };
    let (value, done) = lab.run(|build| two(build, 1)).await;
    assert_eq!(value, "join(last1(two(base())#1),two(base()))");
    assert_eq!(done, ["run base", "run join", "run last1", "run two"]);
    let (value, done) = lab.run(|build| two(build, 0)).await;
    assert_eq!(value, "join(last0(two(base())),two(base()))");
    assert_eq!(done, ["load two", "run join", "run last0"]);
}

#[tokio::test]
async fn several_targets_are_returned_in_their_order() {
    let lab = lab("");
    let mut build = Build::default();
    let base = build.add("base", &[]);
    let run = build.add("run", &[base]);
    let (outcome, _) = lab.solve(build, &[run, base, run]).await;
    assert_eq!(outcome.unwrap(), ["run(base())", "base()", "run(base())"]);
}

#[tokio::test]
async fn a_result_that_is_gone_is_made_again() {
    let lab = lab("a");
    let (value, _) = lab.run(chain).await;
    lab.world.lose_all();
    let (again, done) = lab.run(chain).await;
    assert_eq!(again, value);
    assert_eq!(done.iter().filter(|line| line.starts_with("run ")).count(), 5, "{done:?}");
    assert_eq!(lab.records.forgotten.load(Ordering::Relaxed), 4);
    assert_eq!(lab.run(chain).await.1, ["load last", "run context"]);
}

#[tokio::test]
async fn keys_outlive_results() {
    let lab = lab("a");
    lab.run(chain).await;
    lab.records.drop_results();
    let extended = |build: &mut Build| {
        let last = chain(build);
        build.add("more", &[last])
    };
    assert_eq!(lab.run(extended).await.1.len(), 6);
    let (_, done) = lab.run(extended).await;
    assert_eq!(done, ["load more", "run context"]);
}

/// A stage whose file is copied, and a step above.
fn copied_from(build: &mut Build, stage: &str) -> Edge {
    let base = build.add("base", &[]);
    let stage = build.add(stage, &[base]);
    let copy = build.add("copy", &[base, stage]);
    build.add("last", &[copy])
}

#[tokio::test]
async fn a_content_does_not_lead_to_what_was_made_again_from_another() {
    let lab = lab("");
    let file = |value: &str| Behaviour { value: Some(value.into()), ..Behaviour::default() };
    lab.world.behave("latest", file("v1"));
    lab.world.behave("pinned", file("v1"));
    assert_eq!(lab.run(|build| copied_from(build, "latest")).await.0, "last(copy(base(),v1))");

    // Collected: the results are gone, what leads to them is still there. The same stage now gives another file.
    lab.records.drop_results();
    lab.world.behave("latest", file("v2"));
    assert_eq!(lab.run(|build| copied_from(build, "latest")).await.0, "last(copy(base(),v2))");

    assert_eq!(lab.run(|build| copied_from(build, "pinned")).await.0, "last(copy(base(),v1))");
    let again = lab.run(|build| copied_from(build, "latest")).await;
    assert_eq!(again, ("last(copy(base(),v2))".into(), vec!["load last".into()]));
}

#[tokio::test]
async fn steps_with_one_key_run_once_in_a_solve() {
    let lab = lab("");
    // Two copies with different inputs by definition that read the same content; both start before either has run.
    lab.world.behave("one", Behaviour { value: Some("same|1".into()), ..Behaviour::default() });
    lab.world.behave("two", Behaviour { value: Some("same|2".into()), ..Behaviour::default() });
    let make = |build: &mut Build| {
        let base = build.add("base", &[]);
        let (one, two) = (build.add("one", &[base]), build.add("two", &[base]));
        let (left, right) = (build.add("copy", &[base, one]), build.add("copy", &[base, two]));
        build.add("join", &[left, right])
    };
    let mut build = Build::default();
    let target = make(&mut build);
    let (outcome, _) = lab.solve(build, &[target]).await;
    assert_eq!(outcome.unwrap(), ["join(copy(base(),same),copy(base(),same))"]);
    let mut build = Build::default();
    let target = make(&mut build);
    lab.world.done();
    assert_eq!(lab.solve(build, &[target]).await.0.unwrap(), ["join(copy(base(),same),copy(base(),same))"]);
    assert_eq!(lab.world.done(), ["load join"]);
}

#[tokio::test]
async fn events_say_what_came_from_the_cache() {
    let lab = lab("a");
    lab.run(chain).await;
    lab.world.behave("context", local("b"));
    let mut build = Build::default();
    let target = chain(&mut build);
    let (_, events) = lab.solve(build, &[target]).await;
    let ends: Vec<_> = events.ends().into_iter().collect();
    let expected = [
        ("base", StepStatus::Cached),
        ("context", StepStatus::Completed),
        ("copy", StepStatus::Completed),
        ("last", StepStatus::Completed),
        ("run", StepStatus::Cached),
    ];
    assert_eq!(ends, expected.map(|(name, status)| (name.to_owned(), status)));
}
