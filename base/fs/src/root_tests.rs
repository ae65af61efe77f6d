//! Tests of rooted opens and of resolution.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::*;

fn tree() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::write(at("a/file"), "content").unwrap();
    symlink("/a/b", at("abs")).unwrap();
    symlink("../../../a", at("a/b/up")).unwrap();
    symlink("missing/x", at("dangling")).unwrap();
    symlink("loop2", at("loop1")).unwrap();
    symlink("loop1", at("loop2")).unwrap();
    symlink("/proc/self/root/etc/passwd", at("magic")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), Mode::RWXU).unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

#[test]
fn resolves_in_scope() {
    let (_dir, root) = tree();
    let check = |path: &str, follow: bool, expect: &str| {
        let got = root.resolve(Path::new(path), follow).unwrap();
        assert_eq!(got, PathBuf::from(expect), "{path} follow={follow}");
        assert_eq!(got.as_os_str(), expect, "{path}: the text is clean");
    };
    check("", true, "/");
    check("/", true, "/");
    check("../../..", true, "/");
    check("/a/./b//c/", true, "/a/b/c");
    check("a/../../a/file", true, "/a/file");
    check("abs", true, "/a/b");
    check("abs", false, "/abs");
    check("abs/c", false, "/a/b/c");
    check("abs/up/b/up/file", true, "/a/file");
    check("abs/up", true, "/a");
    check("abs/..", true, "/a");
    check("dangling", true, "/missing/x");
    check("dangling", false, "/dangling");
    check("dangling/y/../z", true, "/missing/x/z");
    check("missing/../a/b/up", true, "/a");
    check("a/file/below", true, "/a/file/below");
    check("a/file/../b", true, "/a/b");
    let error = root.resolve(Path::new("loop1"), true).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    check("loop1", false, "/loop1");
}

#[test]
fn resolves_255_links() {
    let dir = tempfile::tempdir().unwrap();
    symlink("end", dir.path().join("0")).unwrap();
    for link in 1..=255 {
        symlink((link - 1).to_string(), dir.path().join(link.to_string())).unwrap();
    }
    let root = Root::open(dir.path()).unwrap();
    assert_eq!(root.resolve(Path::new("254"), true).unwrap(), Path::new("/end"));
    assert_eq!(root.resolve(Path::new("255"), true).unwrap_err().raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn reads_beneath_the_root_only() {
    let (_dir, root) = tree();
    let read = |path: &str| root.read(Path::new(path), 100);
    assert_eq!(read("/a/file").unwrap().unwrap(), b"content");
    assert_eq!(read("abs/up/file").unwrap().unwrap(), b"content");
    assert_eq!(read("../../a/file").unwrap().unwrap(), b"content");
    assert_eq!(read("nothing").unwrap(), None);
    assert_eq!(read("a/file/x").unwrap(), None);
    assert_eq!(read("magic").unwrap(), None);
    assert_eq!(read("a").unwrap_err().raw_os_error(), Some(libc::EISDIR));
    assert_eq!(read("loop1").unwrap_err().raw_os_error(), Some(libc::ELOOP));
    assert_eq!(root.read(Path::new("a/file"), 7).unwrap().unwrap(), b"content");
    assert_eq!(root.read(Path::new("a/file"), 6).unwrap_err().raw_os_error(), Some(libc::EFBIG));
}

#[test]
fn a_fifo_does_not_hang() {
    let (_dir, root) = tree();
    assert_eq!(root.open_file(Path::new("fifo")).unwrap_err().raw_os_error(), Some(libc::ENXIO));
    assert_eq!(root.open_dir(Path::new("fifo")).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
}

#[test]
fn a_device_is_not_opened() {
    let (dir, root) = tree();
    crate::place::make_node(root.fd(), OsStr::new("null"), Kind::CharDevice, rustix::fs::makedev(1, 3)).unwrap();
    assert_eq!(root.open_file(Path::new("null")).unwrap_err().raw_os_error(), Some(libc::ENXIO));
    drop(dir);
}

#[test]
fn stats_and_lists() {
    let (_dir, root) = tree();
    let kind = |path: &str, follow| root.stat(Path::new(path), follow).unwrap().map(|stat| stat.kind);
    assert_eq!(kind("", false), Some(Kind::Dir));
    assert_eq!(kind("abs", false), Some(Kind::Symlink));
    assert_eq!(kind("abs", true), Some(Kind::Dir));
    assert_eq!(kind("abs/up/file", false), Some(Kind::File));
    assert_eq!(kind("dangling", true), None);
    assert_eq!(kind("a/file/x", false), None);
    assert_eq!(kind("fifo", false), Some(Kind::Fifo));
    assert_eq!(root.stat(Path::new("a/file"), false).unwrap().unwrap().size, 7);
    let names: Vec<_> = root.read_dir(Path::new("")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a", "abs", "dangling", "fifo", "loop1", "loop2", "magic"]);
    assert_eq!(root.read_link(Path::new("a/b/up")).unwrap(), Path::new("../../../a"));
    assert_eq!(root.read_link(Path::new("a/file")).unwrap_err().raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn works_beneath_detached_mounts() {
    let (dir, root) = tree();
    let clone = Root::from_fd(crate::mount::open_tree_clone(dir.path(), false).unwrap());
    assert_eq!(clone.read(Path::new("abs/up/file"), 100).unwrap().unwrap(), b"content");
    assert_eq!(clone.resolve(Path::new("abs/up"), true).unwrap(), Path::new("/a"));
    assert_eq!(clone.read_dir(Path::new("/")).unwrap(), root.read_dir(Path::new("/")).unwrap());
}
