//! Architecture rules as tests, each with a proof that it can fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the checkout").to_owned()
}

/// Layers of design: a crate depends only on crates of lower rows.
const ROWS: &[&[&str]] = &[
    &["oci", "fs", "http"],
    &["graph", "store", "executor"],
    &["frontend", "solver", "snapshotter"],
    &["worker", "exporter"],
    &["builder"],
    &["cli"],
];

fn row(package: &str) -> Option<usize> {
    let name = package.strip_prefix("rbuild-")?;
    ROWS.iter().position(|row| row.contains(&name))
}

/// Edges `from -> to` that point up or sideways, by package name. Base crates may not depend on each other either.
fn bad_edges(edges: &[(String, String)]) -> Vec<String> {
    let bad = |(from, to): &&(String, String)| match (row(from), row(to)) {
        (Some(from), Some(to)) => from <= to,
        (None, _) | (_, None) => false,
    };
    edges.iter().filter(bad).map(|(from, to)| format!("{from} -> {to}")).collect()
}

fn workspace_edges() -> Vec<(String, String)> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(project())
        .output();
    let metadata: serde_json::Value = serde_json::from_slice(&output.expect("cargo metadata").stdout).expect("JSON");
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            if dependency["kind"].is_null() {
                let name = |value: &serde_json::Value| value.as_str().expect("a name").to_owned();
                edges.push((name(&package["name"]), name(&dependency["name"])));
            }
        }
    }
    edges
}

#[test]
fn crates_depend_downwards_only() {
    let edges = workspace_edges();
    assert!(edges.iter().any(|(from, to)| from == "rbuild-cli" && to == "rbuild-builder"), "the edges are read");
    assert_eq!(bad_edges(&edges), Vec::<String>::new());
    let up = ("rbuild-store".to_owned(), "rbuild-worker".to_owned());
    let sideways = ("rbuild-worker".to_owned(), "rbuild-exporter".to_owned());
    assert_eq!(bad_edges(&[up, sideways]).len(), 2, "a bad edge is found");
}

fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![project()];
    while let Some(dir) = dirs.pop() {
        for entry in fs_err::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "fuzz" {
                dirs.push(path);
            } else if name.ends_with(".rs") {
                let text = fs_err::read_to_string(&path).expect("a source file");
                found.insert(path.strip_prefix(project()).expect("below the project").to_owned(), text);
            }
        }
    }
    assert!(found.len() > 50, "the sources are found");
    found
}

fn violations(rule: impl Fn(&Path, &str) -> bool) -> Vec<PathBuf> {
    sources().into_iter().filter(|(path, text)| !rule(path, text)).map(|(path, _)| path).collect()
}

fn says_its_idea(text: &str) -> bool {
    text.starts_with("//! ")
}

#[test]
fn every_file_says_its_idea_first() {
    assert_eq!(violations(|_, text| says_its_idea(text)), Vec::<PathBuf>::new());
    assert!(!says_its_idea("use std::fs;\n//! late"));
}

fn fits(text: &str) -> bool {
    text.lines().count() <= 700
}

#[test]
fn no_file_is_longer_than_700_lines() {
    assert_eq!(violations(|_, text| fits(text)), Vec::<PathBuf>::new());
    assert!(!fits(&"\n".repeat(701)));
}

fn unsafe_is_confined(path: &Path, text: &str) -> bool {
    let word = ["uns", "afe "].concat();
    let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(&word));
    !used || path.starts_with("executor/src/sys") || path.starts_with("base/fs/src/sys")
}

#[test]
fn unsafe_code_is_in_the_two_sys_folders_only() {
    assert_eq!(violations(unsafe_is_confined), Vec::<PathBuf>::new());
    let code = ["uns", "afe { call() }"].concat();
    assert!(!unsafe_is_confined(Path::new("store/src/lib.rs"), &code));
    assert!(unsafe_is_confined(Path::new("executor/src/sys/mod.rs"), &code));
}

fn is_finished(text: &str) -> bool {
    let marks = [["to", "do!("].concat(), ["unimpl", "emented!("].concat(), ["#[ign", "ore"].concat(), ["db", "g!("].concat()];
    !marks.iter().any(|mark| text.contains(mark))
}

#[test]
fn nothing_is_left_unfinished() {
    assert_eq!(violations(|_, text| is_finished(text)), Vec::<PathBuf>::new());
    assert!(!is_finished(&["fn f() { to", "do!() }"].concat()));
}
