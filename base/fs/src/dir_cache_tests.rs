//! Tests of the directory cache.

use std::os::unix::fs::symlink;

use fs_err as fs;

use super::*;
use crate::{Root, Stat};

fn cache(dir: &Path) -> DirCache {
    DirCache::new(Root::open(dir).unwrap().open_path(Path::new(""), false).unwrap())
}

#[test]
fn finds_directories_by_their_literal_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    fs::write(dir.path().join("a/file"), "").unwrap();
    symlink("a", dir.path().join("link")).unwrap();
    let mut cache = cache(dir.path());
    let inode = |path: &str| Stat::at(rustix::fs::CWD, &*dir.path().join(path)).unwrap().ino;
    for path in ["a/b/c", "/a", "a/b", "", "/", "a/b/c", "a/b/c/"] {
        let found = cache.dir(Path::new(path)).unwrap();
        assert_eq!(Stat::of(&*found).unwrap().ino, inode(path.trim_start_matches('/')), "{path}");
    }
    let (parent, name) = cache.parent(Path::new("/a/b/new")).unwrap();
    assert_eq!((Stat::of(&*parent).unwrap().ino, name), (inode("a/b"), OsStr::new("new")));
    let mut errno = |path: &str| cache.dir(Path::new(path)).unwrap_err().raw_os_error().unwrap();
    assert_eq!(errno("link"), libc::ELOOP);
    assert_eq!(errno("link/b"), libc::ELOOP);
    assert_eq!(errno("a/file"), libc::ENOTDIR);
    assert_eq!(errno("none/x"), libc::ENOENT);
    assert_eq!(errno("a/../../etc"), libc::EXDEV);
    assert!(cache.parent(Path::new("/")).is_err());
    assert!(cache.parent(Path::new("a/..")).is_err());
}

#[test]
fn forgets_what_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let mut cache = cache(dir.path());
    let old = Stat::of(&*cache.dir(Path::new("a/b")).unwrap()).unwrap().ino;
    fs::rename(dir.path().join("a"), dir.path().join("old")).unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    assert_eq!(Stat::of(&*cache.dir(Path::new("a/b")).unwrap()).unwrap().ino, old);
    cache.forget(Path::new("/a"));
    assert_ne!(Stat::of(&*cache.dir(Path::new("a/b")).unwrap()).unwrap().ino, old);
}

#[test]
fn holds_a_bounded_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = cache(dir.path());
    for number in 0..300 {
        fs::create_dir(dir.path().join(number.to_string())).unwrap();
        cache.dir(Path::new(&number.to_string())).unwrap();
        assert!(cache.open.len() <= DirCache::CAPACITY);
    }
}
