//! Tests of placing names.

use std::os::unix::fs::symlink;

use fs_err as fs;

use super::*;
use crate::{Root, Stat};

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn meta<'a>(mode: u32, xattrs: &'a [xattr::Xattr]) -> Meta<'a> {
    Meta { mode, uid: 12, gid: 34, mtime: Some((-5, 7)), xattrs }
}

fn assert_meta(root: &Root, path: &str, kind: Kind, mode: u32) {
    let stat = Stat::at(root.fd(), path).unwrap();
    assert_eq!((stat.kind, stat.mode, stat.uid, stat.gid, stat.mtime), (kind, mode, 12, 34, (-5, 7)), "{path}");
}

#[test]
fn makes_every_kind_with_its_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let fd = root.fd();
    let capability = [(b"security.capability".to_vec(), [&[1, 0, 0, 2, 0, 4][..], &[0; 14]].concat())];

    let file = create_file(fd, name("file")).unwrap();
    apply(&file, &meta(0o4755, &capability)).unwrap();
    assert_meta(&root, "file", Kind::File, 0o4755);
    assert_eq!(xattr::list(file.as_fd()).unwrap(), capability);

    make_dir(fd, name("dir")).unwrap();
    apply_at(fd, name("dir"), Kind::Dir, &meta(0o1777, &[(b"user.a".to_vec(), b"b".to_vec())])).unwrap();
    assert_meta(&root, "dir", Kind::Dir, 0o1777);

    make_symlink(fd, name("link"), Path::new("/etc/passwd")).unwrap();
    apply_at(fd, name("link"), Kind::Symlink, &meta(0o600, &[(b"trusted.a".to_vec(), b"b".to_vec())])).unwrap();
    assert_meta(&root, "link", Kind::Symlink, 0o777);
    assert_eq!(read_link(fd, name("link")).unwrap(), Path::new("/etc/passwd"));

    for (path, kind, rdev) in [
        ("null", Kind::CharDevice, rustix::fs::makedev(1, 3)),
        ("disk", Kind::BlockDevice, rustix::fs::makedev(300, 70_000)),
        ("fifo", Kind::Fifo, 0),
        ("socket", Kind::Socket, 0),
    ] {
        make_node(fd, name(path), kind, rdev).unwrap();
        apply_at(fd, name(path), kind, &meta(0o666, &[])).unwrap();
        assert_meta(&root, path, kind, 0o666);
        assert_eq!(Stat::at(fd, path).unwrap().rdev, rdev);
    }
    assert_eq!(make_node(fd, name("x"), Kind::File, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));

    make_hard_link(fd, name("link"), fd, name("link2")).unwrap();
    assert_eq!(Stat::at(fd, "link2").unwrap().nlink, 2);
}

#[test]
fn links_are_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let before = Stat::at(rustix::fs::CWD, &*victim).unwrap();
    symlink(&victim, dir.path().join("link")).unwrap();
    symlink(outside.path(), dir.path().join("dir")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let fd = root.fd();
    let errno = |result: io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    assert_eq!(errno(create_file(fd, name("link")).map(drop)), libc::EEXIST);
    assert_eq!(errno(open_file(fd, name("link")).map(drop)), libc::ELOOP);
    assert_eq!(errno(open_dir(fd, name("dir")).map(drop)), libc::ENOTDIR);
    assert_eq!(errno(make_dir(fd, name("dir"))), libc::EEXIST);
    assert_eq!(errno(set_mode(fd, name("link"), 0o777)), libc::EOPNOTSUPP);
    set_owner(fd, name("link"), 1, 1).unwrap();
    set_times(fd, name("link"), (1, 1)).unwrap();
    assert_eq!(errno(remove_dir(fd, name("dir"))), libc::ENOTDIR);
    unlink(fd, name("dir")).unwrap();
    assert_eq!(Stat::at(rustix::fs::CWD, &*victim).unwrap(), before);
}

#[test]
fn names_are_one_component() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    for bad in ["", ".", "..", "a/b", "/etc", "a\0b", "a/"] {
        assert_eq!(create_file(root.fd(), name(bad)).unwrap_err().raw_os_error(), Some(libc::EINVAL), "{bad:?}");
        assert_eq!(unlink(root.fd(), name(bad)).unwrap_err().raw_os_error(), Some(libc::EINVAL), "{bad:?}");
    }
    assert_eq!(set_owner(root.fd(), name("x"), u32::MAX, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn renames() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "a").unwrap();
    fs::write(dir.path().join("b"), "b").unwrap();
    let root = Root::open(dir.path()).unwrap();
    let read = |path: &str| root.read(Path::new(path), 9).unwrap();
    let go = |how| rename(root.fd(), name("a"), root.fd(), name("b"), how);
    assert_eq!(go(Rename::NoReplace).unwrap_err().raw_os_error(), Some(libc::EEXIST));
    go(Rename::Exchange).unwrap();
    assert_eq!((read("a"), read("b")), (Some(b"b".to_vec()), Some(b"a".to_vec())));
    go(Rename::Replace).unwrap();
    assert_eq!((read("a"), read("b")), (None, Some(b"b".to_vec())));
}

#[test]
fn modes_by_proc_as_before_linux_6_6() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    make_dir(root.fd(), name("dir")).unwrap();
    make_symlink(root.fd(), name("link"), Path::new("dir")).unwrap();
    set_mode_by_proc(root.fd(), name("dir"), 0o2751).unwrap();
    assert_eq!(Stat::at(root.fd(), "dir").unwrap().mode, 0o2751);
    let error = set_mode_by_proc(root.fd(), name("link"), 0o777).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
}
