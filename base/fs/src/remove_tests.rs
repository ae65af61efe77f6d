//! Tests of removing trees.

use std::os::unix::fs::symlink;
use std::path::Path;

use fs_err as fs;

use super::*;
use crate::{Root, place};

#[test]
fn removes_whatever_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("kept"), "").unwrap();
    fs::create_dir_all(dir.path().join("tree/a/b/c")).unwrap();
    fs::create_dir_all(dir.path().join("tree/d")).unwrap();
    fs::write(dir.path().join("tree/a/file"), "").unwrap();
    symlink(outside.path(), dir.path().join("tree/a/link")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    place::make_node(root.open_dir(Path::new("tree/d")).unwrap(), OsStr::new("fifo"), Kind::Fifo, 0).unwrap();
    place::set_mode(root.open_dir(Path::new("tree")).unwrap(), OsStr::new("d"), 0).unwrap();
    symlink(outside.path(), dir.path().join("link")).unwrap();
    let remove = |name: &str| remove_tree(root.fd(), OsStr::new(name)).unwrap();
    assert!(remove("tree"));
    assert!(!remove("tree"));
    assert!(remove("link"));
    assert_eq!(root.read_dir(Path::new("")).unwrap(), []);
    assert!(outside.path().join("kept").exists());
    assert!(remove_tree(root.fd(), OsStr::new("..")).is_err());
    assert!(remove_tree(root.fd(), OsStr::new("a/b")).is_err());
}

#[test]
fn removes_very_deep_and_wide_trees() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut at = root.open_dir(Path::new("")).unwrap();
    for level in 0..2000 {
        let name = OsStr::new("level-with-a-long-name");
        place::make_dir(&at, name).unwrap();
        place::make_dir(&at, OsStr::new("side")).unwrap();
        drop(place::create_file(&at, OsStr::new(&format!("file{level}"))).unwrap());
        at = place::open_dir(&at, name).unwrap();
    }
    drop(at);
    assert!(remove_tree(root.fd(), OsStr::new("level-with-a-long-name")).unwrap());
    assert_eq!(root.read_dir(Path::new("")).unwrap().len(), 2);
}

/// An unprivileged owner, who is bound by modes: in a thread of its own, since the raw system calls act on the thread.
#[test]
fn opens_closed_directories_of_its_own() {
    use rustix::fs::{Gid, Uid};
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/closed/below")).unwrap();
    fs::write(dir.path().join("tree/closed/below/file"), "").unwrap();
    let root = Root::open(dir.path()).unwrap();
    for path in ["tree", "tree/closed", "tree/closed/below", "tree/closed/below/file", ""] {
        std::os::unix::fs::chown(dir.path().join(path), Some(4321), Some(4321)).unwrap();
    }
    for (parent, name, mode) in [("tree/closed", "below", 0o500), ("tree", "closed", 0), ("", "tree", 0)] {
        place::set_mode(root.open_dir(Path::new(parent)).unwrap(), OsStr::new(name), mode).unwrap();
    }
    std::thread::scope(|scope| {
        let result = scope.spawn(|| {
            rustix::thread::set_thread_gid(Gid::from_raw(4321)).unwrap();
            rustix::thread::set_thread_uid(Uid::from_raw(4321)).unwrap();
            remove_tree(root.fd(), OsStr::new("tree"))
        });
        assert!(result.join().unwrap().unwrap());
    });
    assert_eq!(root.read_dir(Path::new("")).unwrap(), []);
}
