//! Tests of walks.

use std::os::unix::fs::symlink;
use std::sync::Mutex;

use fs_err as fs;

use super::*;

fn paths(entries: &[WalkEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.path.to_str().unwrap()).collect()
}

fn tree(paths: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    dir
}

#[test]
fn sorts_by_components() {
    let dir = tree(&["a/b", "a.b", "a-b/c", "a/b.c/d", "B", "é/x", "a/a/a"]);
    symlink("a", dir.path().join("link")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let entries = walk(&root, Path::new(""), &|_, _| Enter::Yes).unwrap();
    let expect = ["B", "a", "a/a", "a/a/a", "a/b", "a/b.c", "a/b.c/d", "a-b", "a-b/c", "a.b", "link", "é", "é/x"];
    assert_eq!(paths(&entries), expect);
    assert_eq!(entries[10].stat.kind, Kind::Symlink);
    assert_eq!(entries[4].stat, root.stat(Path::new("a/b"), false).unwrap().unwrap());
}

#[test]
fn starts_anywhere_in_scope() {
    let dir = tree(&["a/b/c", "a/d"]);
    symlink("/a", dir.path().join("link")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    for start in ["a", "/a", "link", "../a"] {
        let entries = walk(&root, Path::new(start), &|_, _| Enter::Yes).unwrap();
        assert_eq!(paths(&entries), ["b", "b/c", "d"], "{start}");
    }
    assert_eq!(walk(&root, Path::new("a/d"), &|_, _| Enter::Yes).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    assert_eq!(walk(&root, Path::new("none"), &|_, _| Enter::Yes).unwrap_err().raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn enters_as_told() {
    let dir = tree(&["leaf/x", "skip/x", "through/deep/listed", "through/deep/no", "through/side/no", "empty/deep/no", "z"]);
    let root = Root::open(dir.path()).unwrap();
    let asked = Mutex::new(Vec::new());
    let entries = walk(&root, Path::new(""), &|path, _| {
        asked.lock().unwrap().push(path.to_owned());
        match path.to_str().unwrap() {
            "leaf" => Enter::Leaf,
            "skip" => Enter::Skip,
            "z" | "through/deep/listed" => Enter::Yes,
            _ => Enter::Through,
        }
    });
    assert_eq!(paths(&entries.unwrap()), ["leaf", "through", "through/deep", "through/deep/listed", "z"]);
    let mut asked = asked.into_inner().unwrap();
    asked.sort();
    assert!(!asked.contains(&PathBuf::from("leaf/x")) && !asked.contains(&PathBuf::from("skip/x")));
    assert_eq!(asked.len(), 12);
}

#[test]
fn deep_trees_need_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let mut at = Root::open(dir.path()).unwrap();
    // Longer than PATH_MAX and with a sibling on each level, so that every directory waits for another one.
    for _ in 0..1500 {
        for name in ["a", "deeper"] {
            crate::place::make_dir(at.fd(), OsStr::new(name)).unwrap();
        }
        at = Root::from_fd(crate::place::open_dir(at.fd(), OsStr::new("deeper")).unwrap());
    }
    drop(at);
    let root = Root::open(dir.path()).unwrap();
    let entries = walk(&root, Path::new("/"), &|_, _| Enter::Yes).unwrap();
    assert_eq!(entries.len(), 3000);
    assert_eq!(entries[2999].path.iter().count(), 1500);
    assert!(entries.is_sorted_by(|a, b| a.path.iter().lt(b.path.iter())));
    assert!(crate::remove_tree(root.fd(), OsStr::new("deeper")).unwrap());
}

#[test]
fn what_is_replaced_meanwhile_is_gone() {
    let dir = tree(&["a/b"]);
    let root = Root::open(dir.path()).unwrap();
    let entries = walk(&root, Path::new(""), &|path, _| {
        if path == Path::new("a") {
            fs::rename(dir.path().join("a"), dir.path().join("moved")).unwrap();
            symlink("/etc", dir.path().join("a")).unwrap();
        }
        Enter::Yes
    });
    assert!(!paths(&entries.unwrap()).iter().any(|path| path.starts_with("a/")));
}
