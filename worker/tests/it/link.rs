//! `COPY --link`: a layer of its own, laid on whatever the base is.

use rbuild_graph::{ActionInput, Copy, FileAction, FileActionKind, FileOp, InputIndex, MergeOp, Op, OutputIndex};
use rbuild_snapshotter::TimePolicy;
use rbuild_worker::{Output, WorkError};

use crate::support::{Bench, DRIVERS, context, copy, lines, plant, vertex};

const TREE: &str = "d 700 dir\n f 600 dir/a A\n d 711 dir/sub\n f 644 dir/sub/b B\n h - dir/c dir/a\n f 755 file F";

fn layer(bench: &Bench, copy: &Copy) -> Output {
    let copy = Copy { from: ActionInput::Input(InputIndex(0)), ..copy.clone() };
    let action = FileAction { base: ActionInput::Scratch, kind: FileActionKind::Copy(copy), output: Some(OutputIndex(0)) };
    let op = Op::File(FileOp { actions: vec![action] });
    bench.execute(&vertex(op, 1), vec![context()]).unwrap().remove(0)
}

fn merge(bench: &Bench, base: &Output, layer: &Output) -> Result<Output, WorkError> {
    let op = Op::Merge(MergeOp { inputs: vec![InputIndex(0), InputIndex(1)] });
    bench.execute(&vertex(op, 2), vec![base.clone(), layer.clone()]).map(|mut outputs| outputs.remove(0))
}

fn check(base: &str, copy: &Copy, expected: Result<&str, &str>) {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), TREE);
        let base = bench.state(base);
        match (merge(&bench, &base, &layer(&bench, copy)), expected) {
            (Ok(output), Ok(expected)) => assert_eq!(bench.tree(&output), lines(expected), "{driver:?} {copy:?}"),
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected, "{driver:?} {copy:?}"),
            (Ok(output), Err(expected)) => panic!("no `{expected}` but\n{}", bench.tree(&output)),
            (Err(error), Ok(_)) => panic!("{error} {copy:?}"),
        }
    }
}

#[test]
fn directories_of_the_base_stay_as_they_are() {
    let check = |base: &str, sources: &[&str], target: &str, expected: &str| check(base, &copy(sources, target), Ok(expected));
    check("f 644 x x", &["file"], "/new/", "d 755 new\n f 755 new/file F\n f 644 x x");
    check("d 1777 tmp\n f 600 tmp/x x", &["file"], "/tmp/", "d 1777 tmp\n f 755 tmp/file F\n f 600 tmp/x x");
    check("d 777 o\n d 777 o/sub", &["dir"], "/o", "d 777 o\n f 600 o/a A\n h 600 o/c o/a\n d 777 o/sub\n f 644 o/sub/b B");
    check("f 600 file old", &["file"], "/", "f 755 file F");
    check("l - file away", &["file"], "/", "f 755 file F");
}

#[test]
fn links_to_directories_are_followed() {
    let usr = "l - lib usr/lib\n d 755 usr\n d 750 usr/lib";
    check(
        usr,
        &copy(&["file"], "/lib/x/"),
        Ok("l - lib usr/lib\n d 755 usr\n d 750 usr/lib\n d 755 usr/lib/x\n f 755 usr/lib/x/file F"),
    );
    let error = "cannot copy to non-directory: /lib";
    check("l - lib nowhere", &copy(&["file"], "/lib/"), Err(error));
    check("f 644 lib x", &copy(&["file"], "/lib/"), Err(error));
    check("d 755 file\n f 644 file/x x", &copy(&["file"], "/"), Err("cannot replace to directory /file with file"));
}

#[test]
fn nothing_is_needed_without_a_base() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), TREE);
    let output = layer(&bench, &copy(&["file"], "/"));
    assert_eq!(bench.tree(&merge(&bench, &Output::Scratch, &output).unwrap()), "f 755 file F\n");
}

#[test]
fn one_layer_for_all_bases() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), TREE);
        let layer = layer(&bench, &copy(&["dir"], "/o/in/"));
        let written = |base: &str| {
            let Output::Snapshot(merged) = merge(&bench, &bench.state(base), &layer).unwrap() else { panic!("a snapshot") };
            let mut tar = Vec::new();
            bench.snapshotter.write_layer(&merged, &TimePolicy::Keep, &mut tar).unwrap();
            tar
        };
        let first = written("d 755 o\n f 644 x x");
        assert_eq!(first, written("d 700 o\n f 600 o/y y"), "{driver:?}");
        assert_ne!(first, written("d 755 o\n d 755 o/in"), "{driver:?}: it names directories that are missing");
    }
}
