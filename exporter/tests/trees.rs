//! Trees as directories and as tars.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use fixture::{DAY, Fixture, directory, file, system};
use rbuild_exporter::{Destination, ExportError, write_local, write_tar};
use rbuild_snapshotter::Snapshot;

fn write(fixture: &Fixture, snapshot: &Snapshot, to: &Path, epoch: Option<i64>) {
    write_local(&fixture.snapshotter, Some(snapshot), to, epoch).unwrap();
}

#[test]
fn everything_is_kept() {
    let fixture = Fixture::new();
    let snapshot = fixture.snapshot(None, &system());
    let to = fixture.path("some/out");
    for _ in 0..2 {
        write(&fixture, &snapshot, &to, None);
        let stat = |name: &str| fs_err::symlink_metadata(to.join(name)).unwrap();
        assert_eq!(fs_err::read(to.join("hello")).unwrap(), b"hello\n");
        assert_eq!((stat("etc/owned").mode() & 0o7777, stat("etc/owned").uid(), stat("etc/owned").gid()), (0o4750, 7, 8));
        assert_eq!(stat("hello").ino(), stat("hello-again").ino());
        assert_eq!(fs_err::read_link(to.join("link")).unwrap(), Path::new("/etc/old"));
        assert!(stat("dev/null").file_type().is_char_device());
        assert_eq!(stat("dev/null").rdev(), rustix::fs::makedev(1, 3));
        assert_eq!(stat("tmp").mode() & 0o7777, 0o1777);
        assert_eq!((stat("etc").mtime(), stat("hello").mtime(), stat("link").mtime()), (DAY - 1000, DAY - 1000, DAY - 1000));
        assert_eq!(stat("usr/big").len(), 3 << 20);
    }
    write(&fixture, &snapshot, &to, Some(5));
    for name in ["etc", "hello", "link", "dev/null", "usr/big"] {
        assert_eq!(fs_err::symlink_metadata(to.join(name)).unwrap().mtime(), 5, "{name}");
    }
}

#[test]
fn what_is_there_is_replaced_and_links_are_not_followed() {
    let fixture = Fixture::new();
    let outside = fixture.path("outside");
    fs_err::create_dir_all(outside.join("kept")).unwrap();
    fs_err::write(outside.join("file"), "outside").unwrap();
    let to = fixture.path("out");
    fs_err::create_dir_all(to.join("becomes-file/with/content")).unwrap();
    fs_err::write(to.join("becomes-dir"), "x").unwrap();
    fs_err::write(to.join("stays"), "x").unwrap();
    fs_err::write(to.join("read-only"), "old").unwrap();
    fs_err::set_permissions(to.join("read-only"), std::fs::Permissions::from_mode(0o400)).unwrap();
    symlink(&outside, to.join("dir-link")).unwrap();
    symlink(outside.join("file"), to.join("file-link")).unwrap();
    let items = [
        file("becomes-file", 0o644, b"file"),
        directory("becomes-dir", 0o755),
        file("becomes-dir/x", 0o644, b"x"),
        directory("dir-link", 0o755),
        file("dir-link/file", 0o644, b"inside"),
        file("file-link", 0o644, b"inside"),
        file("read-only", 0o644, b"new"),
    ];
    write(&fixture, &fixture.snapshot(None, &items), &to, None);
    assert_eq!(fs_err::read_to_string(outside.join("file")).unwrap(), "outside");
    assert!(fs_err::symlink_metadata(to.join("dir-link")).unwrap().is_dir());
    for (name, content) in
        [("becomes-file", "file"), ("dir-link/file", "inside"), ("file-link", "inside"), ("read-only", "new"), ("stays", "x")]
    {
        assert_eq!(fs_err::read_to_string(to.join(name)).unwrap(), content, "{name}");
    }
    let names: Vec<_> = fs_err::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 2);
}

#[test]
fn the_empty_tree_is_a_directory() {
    let fixture = Fixture::new();
    write_local(&fixture.snapshotter, None, &fixture.path("a/b"), None).unwrap();
    assert_eq!(fs_err::read_dir(fixture.path("a/b")).unwrap().count(), 0);
    fs_err::write(fixture.path("file"), "").unwrap();
    let error = write_local(&fixture.snapshotter, None, &fixture.path("file"), None).unwrap_err();
    assert!(matches!(error, ExportError::Io { .. }), "{error:?}");
}

#[test]
fn many_files_are_written() {
    let fixture = Fixture::new();
    let items: Vec<_> = (0..2000).map(|n| file(&format!("d{}/f{n}", n % 7), 0o644, n.to_string().as_bytes())).collect();
    let to = fixture.path("out");
    write(&fixture, &fixture.snapshot(None, &items), &to, None);
    for n in (0..2000).step_by(97) {
        assert_eq!(fs_err::read_to_string(to.join(format!("d{}/f{n}", n % 7))).unwrap(), n.to_string());
    }
}

#[test]
fn tars_have_the_whole_tree() {
    let fixture = Fixture::new();
    let base = fixture.snapshot(None, &system());
    let top = fixture.snapshot(Some(&base), &[file("etc/.wh.old", 0o644, b""), file("new", 0o644, b"new")]);
    let path = fixture.path("x.tar");
    let to = Destination::File(path.clone());
    write_tar(&fixture.snapshotter, Some(&top), &to, Some(77)).unwrap();
    let items = fixture::items(&fs_err::read(&path).unwrap());
    let names: Vec<_> = items.iter().map(|item| item.header.path.to_str().unwrap().trim_end_matches('/')).collect();
    assert!(names.contains(&"new") && names.contains(&"hello-again") && !names.contains(&"etc/old"), "{names:?}");
    assert!(items.iter().all(|item| item.header.mtime == (77, 0)));
    write_tar(&fixture.snapshotter, None, &to, None).unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), [0; 1024]);
    assert!(write_tar(&fixture.snapshotter, None, &Destination::Directory(path), None).is_err());
}
