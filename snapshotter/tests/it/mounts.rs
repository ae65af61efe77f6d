//! What processes do on mounts: the kernel's own whiteouts and opaque directories, and what nobody may plant.
//!
//! The mounts are attached nowhere; a descriptor is enough for the system calls that a process would make.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rbuild_fs::{Kind, MountSource, place};
use rbuild_snapshotter::{Snapshot, SnapshotError, TimePolicy};
use rustix::fs::{AtFlags, Mode};

use crate::fixture::{Lab, each, mode, name, put};

fn detached(source: MountSource) -> OwnedFd {
    match source {
        MountSource::Detached(fd) => fd,
        MountSource::Overlay { .. } => panic!("this kernel has detached mounts"),
    }
}

/// A state made through a mount.
fn run(lab: &Lab, parent: Option<&Snapshot>, process: impl Fn(BorrowedFd<'_>)) -> Snapshot {
    let active = lab.snapshotter.driver().prepare(parent).expect("prepares");
    let mount = detached(lab.snapshotter.driver().mount(&active).expect("mounts"));
    process(mount.as_fd());
    drop(mount);
    lab.snapshotter.driver().commit(active, "run").expect("commits")
}

/// What a shell would do. Times are set so that nothing depends on the clock.
fn shell(root: BorrowedFd<'_>, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let path = words[1];
    match words[0] {
        "rm" => rustix::fs::unlinkat(root, path, AtFlags::empty()).expect("unlinks"),
        "rmdir" => rustix::fs::unlinkat(root, path, AtFlags::REMOVEDIR).expect("removes"),
        "mkdir" => rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o755)).expect("makes"),
        "mv" => rustix::fs::renameat(root, path, root, words[2]).expect("renames"),
        "ln" => rustix::fs::linkat(root, path, root, words[2], AtFlags::empty()).expect("links"),
        "chmod" => rustix::fs::chmodat(root, path, Mode::from_raw_mode(0o600), AtFlags::empty()).expect("changes"),
        "put" => {
            let (dir, last) = path.rsplit_once('/').unwrap_or((".", path));
            let dir = rustix::fs::openat(root, dir, rustix::fs::OFlags::PATH, Mode::empty()).expect("opens");
            drop(place::unlink(&dir, name(last)));
            let file = place::create_file(&dir, name(last)).expect("creates");
            rustix::io::write(&file, words[2].as_bytes()).expect("writes");
            place::apply(&file, &place::Meta { mode: 0o644, uid: 0, gid: 0, mtime: Some((2000, 0)), xattrs: &[] }).expect("sets");
        }
        "touch" => {
            let (dir, last) = path.rsplit_once('/').unwrap_or((".", path));
            let dir = rustix::fs::openat(root, dir, rustix::fs::OFlags::PATH, Mode::empty()).expect("opens");
            place::set_times(&dir, name(last), (1000, 0)).expect("sets");
        }
        other => panic!("no such command: {other}"),
    }
}

#[test]
fn changes_of_processes() {
    let check = |commands: &[&str], tree: &[&str], changes: &[&str]| {
        each(|lab| {
            let base = lab.unpack(None, &["dir d", "file d/a A", "file d/b B", "dir d/e", "file d/e/x X", "file f F"]);
            let state = run(lab, Some(&base), |root| commands.iter().for_each(|command| shell(root, command)));
            assert_eq!(lab.tree(&state), tree, "{} {commands:?}", lab.driver);
            assert_eq!(lab.changes(&state), changes, "{} {commands:?}", lab.driver);
            let again = lab.unpack_bytes(Some(&base), &lab.layer(&state, &TimePolicy::Keep));
            assert_eq!(lab.tree(&again), tree, "{} applied, {commands:?}", lab.driver);
        });
    };
    let base = ["d/", "d/a A", "d/b B", "d/e/", "d/e/x X", "f F"];
    check(&[], &base, &[]);
    check(&["rm f"], &base[..5], &["D f"]);
    check(&["rm d/a", "put d/a new"], &["d/", "d/a new", "d/b B", "d/e/", "d/e/x X", "f F"], &["P d", "M d/a"]);
    // Copied up and as before.
    check(&["put d/a A", "touch d/a"], &base, &[]);
    check(&["chmod f"], &base, &["M f"]);
    // A file that came and went.
    check(&["put d/t T", "rm d/t"], &base, &[]);
    // An opaque directory.
    check(
        &["rm d/e/x", "rmdir d/e", "mkdir d/e", "put d/e/y Y"],
        &["d/", "d/a A", "d/b B", "d/e/", "d/e/y Y", "f F"],
        &["P d", "P d/e", "D d/e/x", "A d/e/y"],
    );
    // Opaque, with one entry as before and one changed.
    check(
        &["rm d/a", "rm d/b", "rm d/e/x", "rmdir d/e", "rmdir d", "mkdir d", "put d/a A", "touch d/a", "put d/b other"],
        &["d/", "d/a A", "d/b other", "f F"],
        &["P d", "M d/b", "D d/e"],
    );
    check(&["rm d/e/x", "rmdir d/e", "put d/e file"], &["d/", "d/a A", "d/b B", "d/e file", "f F"], &["P d", "M d/e"]);
    check(&["rm f", "mkdir f", "put f/x X"], &["d/", "d/a A", "d/b B", "d/e/", "d/e/x X", "f/", "f/x X"], &["M f", "A f/x"]);
    check(&["mv f g"], &["d/", "d/a A", "d/b B", "d/e/", "d/e/x X", "g F"], &["D f", "A g"]);
    check(&["ln f g"], &["d/", "d/a A", "d/b B", "d/e/", "d/e/x X", "f F", "g =f"], &["M f", "A g"]);
}

#[test]
fn renamed_directories() {
    each(|lab| {
        let base = lab.unpack(None, &["dir d", "file d/a A"]);
        let state = run(lab, Some(&base), |root| {
            let renamed = rustix::fs::renameat(root, "d", root, "moved");
            if lab.driver == "copy" {
                renamed.expect("a plain directory moves");
            } else {
                // Without redirects the kernel says EXDEV, and programs copy.
                assert_eq!(renamed.expect_err("is refused"), rustix::io::Errno::XDEV);
                ["mkdir moved", "put moved/a A", "touch moved/a", "rm d/a", "rmdir d"]
                    .iter()
                    .for_each(|command| shell(root, command));
            }
        });
        assert_eq!(lab.tree(&state), ["moved/", "moved/a A"]);
        assert_eq!(lab.changes(&state), ["D d", "A moved", "A moved/a"], "{}", lab.driver);
    });
}

#[test]
fn several_mounts_of_one_state() {
    each(|lab| {
        let active = lab.snapshotter.driver().prepare(None).expect("prepares");
        for file in ["one", "two"] {
            let mount = detached(lab.snapshotter.driver().mount(&active).expect("mounts"));
            shell(mount.as_fd(), &format!("put {file} x"));
        }
        let state = lab.snapshotter.driver().commit(active, "twice").expect("commits");
        assert_eq!(lab.tree(&state), ["one x", "two x"]);
        assert_eq!(lab.changes(&state), ["A one", "A two"]);
    });
}

#[test]
fn nobody_plants_whiteouts() {
    each(|lab| {
        let base = lab.unpack(None, &["file f F"]);
        for parent in [None, Some(&base)] {
            let active = lab.snapshotter.driver().prepare(parent).expect("prepares");
            let mount = detached(lab.snapshotter.driver().mount(&active).expect("mounts"));
            let planted = place::make_node(&mount, name("planted"), Kind::CharDevice, 0);
            drop(mount);
            if lab.driver == "copy" {
                // Nothing stops a process here, and nothing is hidden by it; but no layer can say it.
                planted.expect("a plain directory takes it");
                let state = lab.snapshotter.driver().commit(active, "planted").expect("commits");
                let error = lab.snapshotter.write_layer(&state, &TimePolicy::Keep, &mut Vec::new()).expect_err("is refused");
                assert!(matches!(error, SnapshotError::WhiteoutDevice(path) if path == Path::new("planted")));
            } else {
                assert_eq!(planted.expect_err("is refused").raw_os_error(), Some(libc::EPERM), "{}", lab.driver);
            }
        }
    });
}

#[test]
fn overlay_attributes_of_processes_mean_nothing() {
    each(|lab| {
        let base = lab.unpack(None, &["dir d", "file d/a A"]);
        let state = run(lab, Some(&base), |root| {
            let dir = place::open_dir(root, name("d")).expect("opens");
            for attribute in [&b"trusted.overlay.opaque"[..], b"user.overlay.opaque", b"user.mine"] {
                // Refused or kept apart, as the kernel likes; on a plain directory they are just attributes.
                drop(rbuild_fs::xattr::set(dir.as_fd(), attribute, b"y"));
            }
            shell(root, "chmod d");
        });
        assert_eq!(lab.tree(&state), ["d/", "d/a A"], "{}", lab.driver);
        let layer = lab.layer(&state, &TimePolicy::Exactly(7));
        assert_eq!(crate::fixture::list(&layer), ["Dir d/ 600 0:0 @7"], "{}", lab.driver);
    });
}

#[test]
fn read_only_mounts() {
    each(|lab| {
        let base = lab.unpack(None, &["file f F"]);
        let upper = lab.write(Some(&base), |writer| put(writer, "/g", "G"));
        for state in [&base, &upper] {
            let mount = detached(lab.snapshotter.driver().mount_readonly(state).expect("mounts"));
            let error = place::unlink(&mount, name("f")).expect_err("is refused");
            assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{}", lab.driver);
            assert!(place::open_file(&mount, name("f")).is_ok());
        }
    });
}

#[test]
fn views_are_shared() {
    each(|lab| {
        let base = lab.unpack(None, &["file f F"]);
        let upper = lab.write(Some(&base), |writer| put(writer, "/g", "G"));
        let driver = lab.snapshotter.driver();
        let (one, two) = (driver.view(&upper).expect("a view"), driver.view(&upper).expect("a view"));
        assert!(std::sync::Arc::ptr_eq(&one, &two));
        // More views than are kept: the old ones are made again.
        for _ in 0..20 {
            let other = lab.write(Some(&upper), |writer| writer.make_dir(Path::new("/d"), &mode(0o755)).expect("makes"));
            assert_eq!(lab.tree(&other), ["d/", "f F", "g G"]);
        }
    });
}

#[test]
fn long_state_paths() {
    for driver in crate::fixture::DRIVERS {
        let lab = Lab::in_directory(driver, &format!("{}/{}", "long".repeat(50), "back\\slash,comma:colon".repeat(5)));
        let base = lab.unpack(None, &["dir d", "file d/a A"]);
        let state = run(&lab, Some(&base), |root| ["rm d/a", "put d/b B"].iter().for_each(|command| shell(root, command)));
        assert_eq!(lab.tree(&state), ["d/", "d/b B"], "{driver}");
    }
}

#[test]
fn opened_again_by_another_session() {
    each(|lab| {
        let base = lab.unpack(None, &["file f F"]);
        let upper = lab.write(Some(&base), |writer| put(writer, "/g", "G"));
        let store = lab.snapshotter.store().clone();
        let other =
            rbuild_snapshotter::Snapshotter::new(store.clone(), store.session().expect("a session")).expect("a known driver");
        let found = other.open(&upper.id).expect("reads").expect("is there");
        assert_eq!(
            (found.id.clone(), found.depth, found.parent.as_ref().map(|parent| parent.id.clone())),
            (upper.id.clone(), 2, Some(base.id.clone()))
        );
        assert_eq!(lab.tree(&found), ["f F", "g G"]);
        assert!(other.open(&rbuild_store::SnapshotId("none".to_owned())).expect("reads").is_none());
    });
}
