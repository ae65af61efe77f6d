//! Random operations give the same states, changes and layers with every driver, and a layer applied gives the state again.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rbuild_snapshotter::{Attrs, EntryKind, SnapshotWriter, TimePolicy};

use crate::fixture::{DRIVERS, Lab, mode};

#[derive(Clone, Debug)]
enum Operation {
    Put(PathBuf, u8),
    Dir(PathBuf, u32),
    Dirs(PathBuf),
    Symlink(PathBuf, PathBuf),
    Hard(PathBuf, PathBuf),
    Fifo(PathBuf),
    Mode(PathBuf, u32),
    Time(PathBuf, i64),
    Note(PathBuf, u8),
    Remove(PathBuf),
}

/// Few names, so that they meet.
fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|names| Path::new("/").join(names.join("/")))
}

fn operation() -> impl Strategy<Value = Operation> {
    let permissions = || prop::sample::select(vec![0o644, 0o755, 0o4711]);
    prop_oneof![
        4 => (path(), 0..3u8).prop_map(|(path, content)| Operation::Put(path, content)),
        3 => (path(), permissions()).prop_map(|(path, mode)| Operation::Dir(path, mode)),
        2 => path().prop_map(Operation::Dirs),
        1 => (path(), path()).prop_map(|(path, target)| Operation::Symlink(path, target)),
        2 => (path(), path()).prop_map(|(path, target)| Operation::Hard(path, target)),
        1 => path().prop_map(Operation::Fifo),
        1 => (path(), permissions()).prop_map(|(path, mode)| Operation::Mode(path, mode)),
        1 => (path(), 1..4i64).prop_map(|(path, time)| Operation::Time(path, time)),
        1 => (path(), 0..3u8).prop_map(|(path, value)| Operation::Note(path, value)),
        3 => path().prop_map(Operation::Remove),
    ]
}

/// Whether it worked, or the error number: the same with every driver.
fn run(writer: &SnapshotWriter, operation: &Operation) -> Result<(), Option<i32>> {
    let result = match operation {
        Operation::Put(path, content) => writer.write_file(path, &mut &[b'0' + content][..], 1, &mode(0o644)),
        Operation::Dir(path, bits) => writer.make_dir(path, &mode(*bits)),
        Operation::Dirs(path) => writer.make_dirs(path, &mode(0o755)).map(drop),
        Operation::Symlink(path, target) => writer.symlink(path, target, &mode(0o777)),
        Operation::Hard(path, target) => writer.hard_link(path, target),
        Operation::Fifo(path) => writer.make_node(path, EntryKind::Fifo, 0, &mode(0o600)),
        Operation::Mode(path, bits) => writer.set_attrs(path, &mode(*bits)),
        Operation::Time(path, time) => writer.set_times(path, (*time, 0)),
        Operation::Note(path, value) => writer.set_attrs(path, &Attrs { gid: 100 + u32::from(*value), ..mode(0o640) }),
        Operation::Remove(path) => writer.remove(path).map(drop),
    };
    result.map_err(|error| error.raw_os_error())
}

/// Everything that can be seen of a history of states.
#[derive(Debug, PartialEq)]
struct Seen {
    outcomes: Vec<Result<(), Option<i32>>>,
    trees: Vec<Vec<String>>,
    changes: Vec<Vec<String>>,
    layers: Vec<Vec<u8>>,
}

fn play(lab: &Lab, history: &[Vec<Operation>]) -> Seen {
    let mut seen = Seen { outcomes: Vec::new(), trees: Vec::new(), changes: Vec::new(), layers: Vec::new() };
    let mut states = (None, None);
    for step in history {
        let state =
            lab.write(states.0.as_ref(), |writer| seen.outcomes.extend(step.iter().map(|operation| run(writer, operation))));
        let layer = lab.layer(&state, &TimePolicy::Exactly(5));
        let kept = lab.layer(&state, &TimePolicy::Keep);
        seen.trees.push(lab.full_tree(&state));
        seen.changes.push(lab.changes(&state));
        let applied = lab.unpack_bytes(states.1.as_ref(), &kept);
        assert_eq!(lab.contents(&applied), lab.contents(&state), "{} applied, {history:?}", lab.driver);
        assert_eq!(lab.layer(&applied, &TimePolicy::Exactly(5)), layer, "{} applied, {history:?}", lab.driver);
        seen.layers.push(layer);
        states = (Some(state), Some(applied));
    }
    seen
}

#[test]
fn drivers_agree() {
    let labs = DRIVERS.map(Lab::new);
    let strategy = prop::collection::vec(prop::collection::vec(operation(), 1..12), 1..4);
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |history| {
        let seen = labs.each_ref().map(|lab| play(lab, &history));
        prop_assert_eq!(&seen[0], &seen[1]);
        prop_assert_eq!(&seen[0], &seen[2]);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
