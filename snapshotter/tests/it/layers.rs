//! Layers: their entries, and that nothing but the state and the policy reaches their bytes.

use std::path::Path;

use rbuild_snapshotter::{Attrs, EntryKind, Snapshot, SnapshotError, TimePolicy};

use crate::fixture::{Lab, chain, each, list, mode, put, tar};

/// A state with one of everything.
fn everything(lab: &Lab) -> (Snapshot, Snapshot) {
    let base = lab
        .unpack(None, &["dir etc 750", "file etc/a A", "file etc/b B", "dir old", "file old/x X", "file two T", "hard one two"]);
    let state = lab.write(Some(&base), |writer| {
        let path = Path::new;
        writer.remove(path("/etc/a")).expect("removes");
        writer.remove(path("/old")).expect("removes");
        writer.make_dir(path("/old"), &mode(0o1777)).expect("makes");
        put(writer, "/old/y", "Y");
        let capability = vec![(b"security.capability".to_vec(), b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec())];
        let attrs = Attrs { mode: 0o6755, uid: 70000, gid: 3_000_000, mtime: Some((-5, 999_999_999)), xattrs: capability };
        writer.write_file(path("/ping"), &mut &b"ping"[..], 4, &attrs).expect("writes");
        writer.hard_link(path("/etc/one"), path("/one")).expect("links");
        writer.hard_link(path("/etc/p"), path("/ping")).expect("links");
        writer.symlink(path("/link"), path("/some/where"), &mode(0o777)).expect("links");
        writer.make_node(path("/null"), EntryKind::CharDevice, rustix::fs::makedev(1, 3), &mode(0o666)).expect("makes");
        writer.make_node(path("/disk"), EntryKind::BlockDevice, rustix::fs::makedev(259, 70000), &mode(0o660)).expect("makes");
        writer.make_node(path("/fifo"), EntryKind::Fifo, 0, &mode(0o600)).expect("makes");
        writer.make_node(path("/socket"), EntryKind::Socket, 0, &mode(0o600)).expect("makes");
        put(writer, &format!("/{}", "long-name".repeat(20)), "long");
        put(writer, "/caf\u{e9}", "UTF-8");
        for directory in ["/", "/etc", "/old"] {
            writer.set_times(path(directory), (3_000_000, 7)).expect("sets");
        }
    });
    (base, state)
}

#[test]
fn entries() {
    each(|lab| {
        let (_, state) = everything(lab);
        let long = "long-name".repeat(20);
        let capability = "security.capability=\u{1}\0\0\u{2}\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let expected = [
            "File caf\u{e9} 644 0:0 @1000000 \"UTF-8\"",
            "BlockDevice disk 660 0:0 @1000000 259:70000",
            "Dir etc/ 750 0:0 @3000000",
            "File etc/.wh.a 0 0:0 @0",
            "File etc/one 644 0:0 @1000 \"T\"",
            &format!("File etc/p 6755 70000:3000000 @-5 {capability} \"ping\""),
            "Fifo fifo 600 0:0 @1000000",
            "Symlink link 777 0:0 @1000000 -> /some/where",
            &format!("File {long} 644 0:0 @1000000 \"long\""),
            "CharDevice null 666 0:0 @1000000 1:3",
            "Dir old/ 1777 0:0 @3000000",
            "File old/.wh.x 0 0:0 @0",
            "File old/y 644 0:0 @1000000 \"Y\"",
            "HardLink ping 6755 70000:3000000 @-5 -> etc/p",
        ];
        assert_eq!(list(&lab.layer(&state, &TimePolicy::Keep)), expected, "{}", lab.driver);
    });
}

#[test]
fn bytes_depend_on_the_state_and_the_policy_alone() {
    let mut layers = Vec::new();
    each(|lab| {
        let (_, state) = everything(lab);
        for threads in [1, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            layers.push(pool.install(|| lab.layer(&state, &TimePolicy::Keep)));
        }
    });
    assert!(layers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn time_policies() {
    let check = |policy: TimePolicy, expected: [i64; 3]| {
        each(|lab| {
            let base = lab.unpack(None, &["file gone x"]);
            let state = lab.write(Some(&base), |writer| {
                writer.remove(Path::new("/gone")).expect("removes");
                for (path, time) in [("/a", -1), ("/b", 1_000_000)] {
                    put(writer, path, "x");
                    writer.set_times(Path::new(path), (time, 500)).expect("sets");
                }
            });
            let times: Vec<i64> = list(&lab.layer(&state, &policy)).iter().map(|line| time_of(line)).collect();
            assert_eq!(times, expected, "{} {policy:?}", lab.driver);
        });
    };
    // The whiteout comes last, and is from 1970 always.
    check(TimePolicy::Keep, [-1, 1_000_000, 0]);
    check(TimePolicy::Clamp(500), [-1, 500, 0]);
    check(TimePolicy::Exactly(500), [500, 500, 0]);
}

fn time_of(line: &str) -> i64 {
    let word = line.split(' ').find_map(|word| word.strip_prefix('@')).expect("a time");
    word.parse().expect("a number")
}

#[test]
fn applying_gives_the_state_again() {
    each(|lab| {
        let (base, state) = everything(lab);
        let layer = lab.layer(&state, &TimePolicy::Keep);
        let again = lab.unpack_bytes(Some(&base), &layer);
        let without_sockets: Vec<String> = lab.contents(&state).into_iter().filter(|line| !line.starts_with("socket")).collect();
        assert_eq!(lab.contents(&again), without_sockets, "{}", lab.driver);
        assert_eq!(lab.layer(&again, &TimePolicy::Keep), layer, "{}", lab.driver);
    });
}

#[test]
fn whole_trees() {
    each(|lab| {
        let (_, state) = everything(lab);
        let mut out = Vec::new();
        lab.snapshotter.write_tree(&state, &TimePolicy::Keep, &mut out).expect("writes");
        let copy = lab.unpack_bytes(None, &out);
        let without_sockets: Vec<String> = lab.full_tree(&state).into_iter().filter(|line| !line.starts_with("socket")).collect();
        assert_eq!(lab.full_tree(&copy), without_sockets, "{}", lab.driver);
    });
}

#[test]
fn an_empty_change_is_an_empty_tar() {
    each(|lab| {
        let base = lab.unpack(None, &["file f F"]);
        let state = lab.write(Some(&base), |_| ());
        assert_eq!(lab.layer(&state, &TimePolicy::Keep), vec![0; 1024], "{}", lab.driver);
        assert_eq!(lab.layer(&lab.write(None, |_| ()), &TimePolicy::Keep), vec![0; 1024], "{}", lab.driver);
    });
}

#[test]
fn reserved_names_are_refused() {
    each(|lab| {
        let state = lab.write(None, |writer| {
            writer.make_dir(Path::new("/d"), &mode(0o755)).expect("makes");
            put(writer, "/d/.wh.x", "x");
        });
        let error = lab.snapshotter.write_layer(&state, &TimePolicy::Keep, &mut Vec::new()).expect_err("is refused");
        assert_eq!(chain(&error), "`d/.wh.x` cannot be stored in a layer: names that start with `.wh.` mean deletions there");
        lab.snapshotter.write_tree(&state, &TimePolicy::Keep, &mut Vec::new()).expect("a plain tar can have it");
    });
}

#[test]
fn a_receiver_that_fails_is_named() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(libc::ENOSPC))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    each(|lab| {
        let state = lab.unpack_bytes(None, &tar(&["file f F"]));
        let error = lab.snapshotter.write_layer(&state, &TimePolicy::Keep, &mut Full).expect_err("fails");
        assert!(matches!(error, SnapshotError::Output { .. }) && error.is_full(), "{error:?}");
    });
}

#[test]
fn names_of_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    each(|lab| {
        let names: [&[u8]; 4] = [b"caf\xe9", b"new\nline", b" ", b"\xff=\xfe"];
        let state = lab.write(None, |writer| {
            for name in names {
                let path = Path::new("/").join(std::ffi::OsStr::from_bytes(name));
                writer.write_file(&path, &mut &b"x"[..], 1, &mode(0o644)).expect("writes");
            }
        });
        let again = lab.unpack_bytes(None, &lab.layer(&state, &TimePolicy::Keep));
        let found: Vec<_> =
            lab.snapshotter.driver().changes(&again).expect("compares").into_iter().map(|change| change.path).collect();
        let mut expected: Vec<_> = names.iter().map(|name| std::path::PathBuf::from(std::ffi::OsStr::from_bytes(name))).collect();
        expected.sort();
        assert_eq!(found, expected, "{}", lab.driver);
    });
}

#[test]
fn directories_of_a_thousand_levels() {
    each(|lab| {
        let deep = "d/".repeat(1000);
        let state = lab.write(None, |writer| {
            assert_eq!(writer.make_dirs(&Path::new("/").join(&deep), &mode(0o755)).expect("makes").len(), 1000);
            put(writer, &format!("/{deep}x"), "X");
            let longer = writer.make_dirs(&Path::new("/").join("d/".repeat(2100)), &mode(0o755)).expect_err("is too long");
            assert_eq!(longer.raw_os_error(), Some(libc::ENAMETOOLONG));
        });
        let layer = lab.layer(&state, &TimePolicy::Keep);
        let again = lab.unpack_bytes(Some(&lab.unpack(None, &["dir d 700"])), &layer);
        assert_eq!(lab.layer(&again, &TimePolicy::Keep), layer, "{}", lab.driver);
        let gone = lab.write(Some(&state), |writer| assert!(writer.remove(Path::new("/d")).expect("removes")));
        assert_eq!(lab.changes(&gone), ["D d"], "{}", lab.driver);
    });
}
