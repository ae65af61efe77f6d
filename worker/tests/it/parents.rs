//! `COPY --parents`: which part of a source's path is kept, and what the directories on the way look like.

use crate::support::{Bench, DRIVERS, NOW, context, copy, lines, message, plant};
use rbuild_graph::{Chmod, Copy, CopySource, Owner, UserName};
use rbuild_worker::Output;

const TREE: &str = "
    d 700 a
    d 750 a/b
    d 711 a/b/c
    f 600 a/b/c/f one
    f 644 a/b/g two
    l - a/b/link c
    d 755 a2
    d 755 a2/b
    d 755 a2/b/c
    f 644 a2/b/c/f three
    l - lnk a
    f 644 top four";

/// As the frontend writes sources: a pivot stays, the rest is clean.
fn kept(sources: &[&str], target: &str) -> Copy {
    let source = |path: &&str| CopySource {
        path: (*path).to_owned(),
        wildcard: path.contains(['*', '?', '[']),
        written: (*path).to_owned(),
    };
    Copy { sources: sources.iter().map(source).collect(), parents: true, ..copy(&[], target) }
}

fn check_on(base: &str, copy: &Copy, expected: Result<&str, &str>) {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), TREE);
        let base = if base.is_empty() { Output::Scratch } else { bench.state(base) };
        match (bench.copy(&base, &context(), copy), expected) {
            (Ok(output), Ok(expected)) => assert_eq!(bench.tree(&output), lines(expected), "{driver:?} {copy:?}"),
            (Ok(output), Err(expected)) => panic!("no `{expected}` but\n{}", bench.tree(&output)),
            (Err(error), Ok(_)) => panic!("{} {copy:?}", message(&error)),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{} {copy:?}", message(&error)),
        }
    }
}

fn check(sources: &[&str], expected: &str) {
    check_on("", &kept(sources, "/o/"), Ok(expected));
}

const F: &str = "d 755 o\n d 700 o/a\n d 750 o/a/b\n d 711 o/a/b/c\n f 600 o/a/b/c/f one\n";
const F2: &str = "d 755 o/a2\n d 755 o/a2/b\n d 755 o/a2/b/c\n f 644 o/a2/b/c/f three";

#[test]
fn paths_are_kept() {
    check(&["/a/b/c/f"], F);
    check(&["/a/b/c"], F);
    check_on("", &kept(&["/a/b/c/f"], "/o"), Ok(F));
    check(&["/a/b/g"], "d 755 o\n d 700 o/a\n d 750 o/a/b\n f 644 o/a/b/g two");
    check(&["/a/b"], &format!("{F} f 644 o/a/b/g two\n l - o/a/b/link c"));
    check(&["/top", "/a/b/c/f"], &format!("{F} f 644 o/top four"));
    check(&["/a2"], &format!("d 755 o\n {F2}"));
}

#[test]
fn the_pivot_cuts() {
    check(&["/a/./b/c/f"], "d 755 o\n d 750 o/b\n d 711 o/b/c\n f 600 o/b/c/f one");
    check(&["/a/b/./c"], "d 755 o\n d 711 o/c\n f 600 o/c/f one");
    check(&["/a/b/c/./f"], "d 755 o\n f 600 o/f one");
    check(&["/a/b/c/./"], "d 755 o\n f 600 o/f one");
    check(&["/lnk/./b/g"], "d 755 o\n d 750 o/b\n f 644 o/b/g two");
    check(&["/./a/b/c"], F);
    check(&["/"], &format!("{F} f 644 o/a/b/g two\n l - o/a/b/link c\n {F2}\n l - o/lnk a\n f 644 o/top four"));
}

#[test]
fn patterns_reach_any_depth() {
    check(&["/**/f"], &format!("{F} {F2}"));
    check(&["/a*/**/f"], &format!("{F} {F2}"));
    check(&["/a/*/c"], F);
    check(&["/a/./**/c/f"], "d 755 o\n d 750 o/b\n d 711 o/b/c\n f 600 o/b/c/f one");
    check(&["/a/b/*k"], "d 755 o\n d 700 o/a\n d 750 o/a/b\n l - o/a/b/link c");
    check(&["/?op"], "d 755 o\n f 644 o/top four");
    check(&["/a*/./b/c/f"], "d 755 o\n d 755 o/b\n d 755 o/b/c\n f 644 o/b/c/f three");
    check(&["/a*/b/./**/f"], "d 755 o\n d 755 o/c\n f 644 o/c/f three");
    for nothing in ["/a/b9*/c", "/none/*", "/a/./none/*", "/top/*", "/a*/./none"] {
        check(&[nothing], "d 755 o");
    }
    check(&["/none*/./x"], "");
}

#[test]
fn what_is_named_must_exist() {
    let fails = |source: &str, expected: &str| check_on("", &kept(&[source], "/o/"), Err(expected));
    fails("/test/nonexistent-file", "\"/test/nonexistent-file\": not found");
    fails("/a/b/./nonexistent", "\"/a/b/nonexistent\": not found");
    fails("/none/./x*", "\"/none\": not found");
    fails("/top/x", "\"/top/x\": not found");
    fails("/lnk/b/g", "\"/lnk/b/g\": not found");
}

#[test]
fn links_are_copied_as_links() {
    check(&["/lnk"], "d 755 o\n l - o/lnk a");
    check(&["/a/b/link"], "d 755 o\n d 700 o/a\n d 750 o/a/b\n l - o/a/b/link c");
}

#[test]
fn exclusions_are_relative_to_the_pivot() {
    let excluding = |sources: &[&str], patterns: &[&str]| Copy {
        exclude: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        ..kept(sources, "/o/")
    };
    let check = |copy: &Copy, expected: &str| check_on("", copy, Ok(expected));
    check(&excluding(&["/a"], &["a/b/g", "**/link"]), F);
    check(&excluding(&["/a/./b"], &["b/g", "b/link"]), "d 755 o\n d 750 o/b\n d 711 o/b/c\n f 600 o/b/c/f one");
    check(&excluding(&["/**/f"], &["a2"]), F);
    check(&excluding(&["/a/b"], &["a", "!a/b/c"]), F);
    check(&excluding(&["/a"], &["a"]), "d 755 o");
}

#[test]
fn existing_directories_get_the_sources_metadata() {
    check_on(
        "d 777 o\n d 777 o/a\n f 644 o/a/x x",
        &kept(&["/a/b/c/f"], "/o"),
        Ok(&format!("{} f 644 o/a/x x", F.replace("d 755 o\n", "d 777 o\n"))),
    );
    check_on("d 755 o\n d 755 o/q\n l - o/a q", &kept(&["/a/b/g"], "/o"), Err("cannot copy to non-directory"));
    check_on("f 644 o x", &kept(&["/a/b/g"], "/o"), Err("cannot copy to non-directory"));
}

#[test]
fn owners_and_modes_cover_the_way() {
    let copy = Copy {
        owner: Some(Owner { user: UserName::Id(1), group: Some(UserName::Id(2)) }),
        chmod: Some(Chmod::Octal(0o755)),
        ..kept(&["/a/b/c/f"], "/o")
    };
    check_on("", &copy, Ok("d 755 1:2 o\n d 755 1:2 o/a\n d 755 1:2 o/a/b\n d 755 1:2 o/a/b/c\n f 755 1:2 o/a/b/c/f one"));
}

#[test]
fn keys_see_the_way() {
    let key = |tree: &str, sources: &[&str]| {
        let bench = Bench::new(DRIVERS[0]);
        plant(&bench.context(), tree);
        bench.key(&context(), &kept(sources, "/o")).unwrap()
    };
    assert_eq!(key(TREE, &["/a/b/c/f"]), key(&TREE.replace("two", "2"), &["/a/b/c/f"]));
    assert_ne!(key(TREE, &["/a/b/c/f"]), key(&TREE.replace("d 750 a/b", "d 755 a/b"), &["/a/b/c/f"]));
    assert_ne!(key(TREE, &["/**/f"]), key(&TREE.replace("three", "3"), &["/**/f"]));
    assert_eq!(key(TREE, &["/a/./b/g"]), key(&TREE.replace("d 700 a\n", "d 755 a\n"), &["/a/./b/g"]));
}

#[test]
fn directories_on_the_way_are_new() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), TREE);
    let output = bench.copy(&Output::Scratch, &context(), &kept(&["/a/b/c", "/a/b/g"], "/o")).unwrap();
    let time = |path: &str| bench.mtime(&output, path).0;
    assert_eq!((time("/o/a"), time("/o/a/b")), (NOW, NOW));
    let own = rbuild_fs::Root::open(&bench.context()).unwrap().stat(std::path::Path::new("a/b/c"), false).unwrap().unwrap();
    assert_eq!(time("/o/a/b/c"), own.mtime.0);
}
