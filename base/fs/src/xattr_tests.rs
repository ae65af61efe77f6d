//! Tests of extended attributes, by each of the three ways.

use std::os::unix::fs::symlink;
use std::path::Path;

use fs_err as fs;

use super::*;
use crate::Root;

/// Root may set `trusted.*` on links too, which `user.*` is not allowed on.
const NAME: &[u8] = b"trusted.rbuild";

fn check(target: &Target<'_>) {
    let name = terminated(NAME).unwrap();
    assert_eq!(target.get(&name).unwrap(), None);
    assert!(!target.remove(&name).unwrap());
    for value in [&b"one\n\0two"[..], b"", &[7; 3000]] {
        target.set(&name, value).unwrap();
        assert_eq!(target.get(&name).unwrap().as_deref(), Some(value));
        assert_eq!(read_all(target).unwrap(), [(NAME.to_vec(), value.to_vec())]);
    }
    assert!(target.remove(&name).unwrap());
    assert_eq!(read_all(target).unwrap(), []);
}

#[test]
fn all_kinds_of_targets() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    check(&Target::Fd(root.open_file(Path::new("file")).unwrap().as_fd()));
    check(&Target::Fd(root.open_dir(Path::new("dir")).unwrap().as_fd()));
    for path in ["file", "dir", "link", "dangling"] {
        let fd = root.open_path(Path::new(path), false).unwrap();
        check(&Target::Fd(fd.as_fd()));
        check(&Target::name(root.fd(), OsStr::new(path)).unwrap());
    }
    set_at(root.fd(), OsStr::new("link"), NAME, b"of the link").unwrap();
    assert_eq!(get_at(root.fd(), OsStr::new("file"), NAME).unwrap(), None);
    assert_eq!(list_at(root.fd(), OsStr::new("link")).unwrap().len(), 1);
    assert!(remove_at(root.fd(), OsStr::new("link"), NAME).unwrap());
}

#[test]
fn by_proc_as_before_linux_6_13() {
    let dir = tempfile::tempdir().unwrap();
    symlink("nowhere", dir.path().join("link")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let link = root.open_path(Path::new("link"), false).unwrap();
    set(link.as_fd(), NAME, b"by proc").unwrap();
    assert_eq!(get_at(root.fd(), OsStr::new("link"), NAME).unwrap().unwrap(), b"by proc");
    assert!(remove(link.as_fd(), NAME).unwrap());
    assert_eq!(list_at(root.fd(), OsStr::new("link")).unwrap(), []);
}

#[test]
fn long_lists_and_other_file_systems() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let root = Root::open(dir.path()).unwrap();
    let file = root.open_file(Path::new("file")).unwrap();
    let names: Vec<Vec<u8>> = (100..120).map(|number| format!("user.{}{number}", "x".repeat(60)).into_bytes()).collect();
    for name in names.iter().rev() {
        set(file.as_fd(), name, name).unwrap();
    }
    let expect: Vec<Xattr> = names.iter().map(|name| (name.clone(), name.clone())).collect();
    assert_eq!(list(file.as_fd()).unwrap(), expect);
    let proc = Root::open(Path::new("/proc")).unwrap();
    assert_eq!(list(proc.open_file(Path::new("version")).unwrap().as_fd()).unwrap(), []);
    assert_eq!(get(file.as_fd(), b"user.none").unwrap(), None);
    assert_eq!(set(file.as_fd(), b"user.nul\0", b"").unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert!(set_at(root.fd(), OsStr::new("../x"), NAME, b"").is_err());
}
