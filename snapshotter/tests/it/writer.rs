//! Writing into states: what is there then, and what counts as changed.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rbuild_snapshotter::{Attrs, EntryKind, Result, SnapshotWriter};

use crate::fixture::{Lab, chain, each, mode, put, xattrs};

/// One operation: `put PATH CONTENT`, `dir PATH`, `dirs PATH`, `link PATH TARGET`, `hard PATH TARGET`, `rm PATH`, `mode PATH MODE`, `time PATH
/// SECONDS`, `fifo PATH`, `char PATH MAJOR MINOR`.
fn run(writer: &SnapshotWriter, operation: &str) -> Result<()> {
    let words: Vec<&str> = operation.split(' ').collect();
    let path = Path::new(words[1]);
    match words[0] {
        "put" => writer.write_file(path, &mut words[2].as_bytes(), words[2].len() as u64, &mode(0o644)),
        "dir" => writer.make_dir(path, &mode(0o755)),
        "dirs" => writer.make_dirs(path, &mode(0o755)).map(drop),
        "link" => writer.symlink(path, Path::new(words[2]), &mode(0o777)),
        "hard" => writer.hard_link(path, Path::new(words[2])),
        "rm" => writer.remove(path).map(drop),
        "mode" => writer.set_attrs(path, &Attrs { mtime: None, ..mode(u32::from_str_radix(words[2], 8).expect("a mode")) }),
        "time" => writer.set_times(path, (words[2].parse().expect("seconds"), 0)),
        "fifo" => writer.make_node(path, EntryKind::Fifo, 0, &mode(0o600)),
        "char" => {
            let number = |word: &str| word.parse().expect("a number");
            writer.make_node(path, EntryKind::CharDevice, rustix::fs::makedev(number(words[2]), number(words[3])), &mode(0o600))
        }
        other => panic!("no such operation: {other}"),
    }
}

const BASE: [&str; 9] = [
    "dir etc 750",
    "file etc/a A",
    "file etc/b B",
    "dir etc/deep",
    "file etc/deep/x X",
    "file one 1",
    "hard two one",
    "link lib etc",
    "dir empty",
];

fn check(operations: &[&str], tree: &[&str], changes: &[&str]) {
    each(|lab| {
        let base = lab.unpack(None, &BASE);
        let state = lab.write(Some(&base), |writer| {
            for operation in operations {
                run(writer, operation).unwrap_or_else(|error| panic!("{} {operation}: {}", lab.driver, chain(&error)));
            }
        });
        assert_eq!(lab.tree(&state), tree, "{} {operations:?}", lab.driver);
        assert_eq!(lab.changes(&state), changes, "{} {operations:?}", lab.driver);
        let again = lab.unpack_bytes(Some(&base), &lab.layer(&state, &rbuild_snapshotter::TimePolicy::Keep));
        assert_eq!(lab.contents(&again), lab.contents(&state), "{} applied, {operations:?}", lab.driver);
    });
}

/// The base's lines with some replaced.
fn base_with(changed: &[(&str, &[&'static str])]) -> Vec<&'static str> {
    let lines = ["empty/", "etc/", "etc/a A", "etc/b B", "etc/deep/", "etc/deep/x X", "lib -> etc", "one 1", "two =one"];
    let replaced = |line: &'static str| changed.iter().find(|(old, _)| *old == line).map_or(vec![line], |(_, new)| new.to_vec());
    lines.into_iter().flat_map(replaced).collect()
}

#[test]
fn adding() {
    check(&[], &base_with(&[]), &[]);
    check(&["put /etc/c C"], &base_with(&[("etc/b B", &["etc/b B", "etc/c C"])]), &["P etc", "A etc/c"]);
    check(
        &["put /etc/deep/y Y"],
        &base_with(&[("etc/deep/x X", &["etc/deep/x X", "etc/deep/y Y"])]),
        &["P etc", "P etc/deep", "A etc/deep/y"],
    );
    check(
        &["dirs /new/a/b"],
        &base_with(&[("lib -> etc", &["lib -> etc", "new/", "new/a/", "new/a/b/"])]),
        &["A new", "A new/a", "A new/a/b"],
    );
    check(&["fifo /empty/f"], &base_with(&[("empty/", &["empty/", "empty/f Fifo"])]), &["P empty", "A empty/f"]);
    check(&["char /null 1 3"], &base_with(&[("lib -> etc", &["lib -> etc", "null CharDevice 1:3"])]), &["A null"]);
}

#[test]
fn replacing() {
    check(&["put /etc/a changed"], &base_with(&[("etc/a A", &["etc/a changed"])]), &["P etc", "M etc/a"]);
    check(&["put /lib file"], &base_with(&[("lib -> etc", &["lib file"])]), &["M lib"]);
    check(&["link /etc/a b"], &base_with(&[("etc/a A", &["etc/a -> b"])]), &["P etc", "M etc/a"]);
    check(
        &["rm /etc/deep", "put /etc/deep file"],
        &base_with(&[("etc/deep/", &["etc/deep file"]), ("etc/deep/x X", &[])]),
        &["P etc", "M etc/deep"],
    );
    check(&["rm /lib", "dir /lib", "put /lib/x X"], &base_with(&[("lib -> etc", &["lib/", "lib/x X"])]), &["M lib", "A lib/x"]);
    check(&["put /one new"], &base_with(&[("one 1", &["one new"]), ("two =one", &["two 1"])]), &["M one"]);
}

#[test]
fn removing() {
    check(&["rm /etc/a"], &base_with(&[("etc/a A", &[])]), &["P etc", "D etc/a"]);
    check(&["rm /etc"], &["empty/", "lib -> etc", "one 1", "two =one"], &["D etc"]);
    check(&["rm /nothing", "rm /one/below"], &base_with(&[]), &[]);
    check(&["put /etc/c C", "rm /etc/c"], &base_with(&[]), &[]);
    check(&["put /etc/a new", "rm /etc/a"], &base_with(&[("etc/a A", &[])]), &["P etc", "D etc/a"]);
    // Removed and made again: what the parent had in it stays hidden, and is deleted entry by entry.
    let gone: [(&str, &[&'static str]); 4] =
        [("etc/a A", &[]), ("etc/b B", &["etc/c C"]), ("etc/deep/", &[]), ("etc/deep/x X", &[])];
    check(&["rm /etc", "dir /etc", "put /etc/c C"], &base_with(&gone), &["M etc", "D etc/a", "D etc/b", "A etc/c", "D etc/deep"]);
    check(&["rm /empty", "dir /empty"], &base_with(&[]), &[]);
    check(
        &["rm /etc/deep", "dir /etc/deep", "dir /etc/deep/d"],
        &base_with(&[("etc/deep/x X", &["etc/deep/d/"])]),
        &["P etc", "P etc/deep", "A etc/deep/d", "D etc/deep/x"],
    );
}

#[test]
fn attributes() {
    check(&["mode /etc/a 600"], &base_with(&[]), &["P etc", "M etc/a"]);
    check(&["mode /etc/a 644"], &base_with(&[]), &[]);
    check(&["mode /etc 700"], &base_with(&[]), &["M etc"]);
    check(&["time /etc/a 77"], &base_with(&[]), &["P etc", "M etc/a"]);
    check(&["time /etc/a 1000"], &base_with(&[]), &[]);
    // A directory's time alone is no change (containerd's rule).
    check(&["time /etc 77"], &base_with(&[]), &[]);
    // Copying up parts what the parent linked, in both drivers.
    check(&["mode /one 600"], &base_with(&[("two =one", &["two 1"])]), &["M one"]);
}

#[test]
fn hard_links() {
    check(&["put /x X", "hard /y /x"], &base_with(&[("two =one", &["two =one", "x X", "y =x"])]), &["A x", "A y"]);
    check(&["hard /etc/c /etc/a"], &base_with(&[("etc/b B", &["etc/b B", "etc/c =etc/a"])]), &["P etc", "M etc/a", "A etc/c"]);
    check(&["hard /three /two"], &base_with(&[("two =one", &["three 1", "two =three"])]), &["A three"]);
    // The parents' other name counts although this state removes it.
    check(
        &["rm /one", "hard /three /two"],
        &base_with(&[("one 1", &[]), ("two =one", &["three 1", "two =three"])]),
        &["D one", "A three"],
    );
    check(&["hard /l /lib"], &base_with(&[("lib -> etc", &["l -> etc", "lib =l"])]), &["A l", "M lib"]);
    check(
        &["put /x X", "hard /y /x", "mode /y 600", "put /x Z"],
        &base_with(&[("two =one", &["two =one", "x Z", "y X"])]),
        &["A x", "A y"],
    );
}

#[test]
fn refusals() {
    let check = |operations: &[&str], expected: &str| {
        each(|lab| {
            let base = lab.unpack(None, &BASE);
            let active = lab.snapshotter.driver().prepare(Some(&base)).expect("prepares");
            let writer = lab.snapshotter.driver().writer(&active).expect("a writer");
            let (last, before) = operations.split_last().expect("an operation");
            before.iter().for_each(|operation| run(&writer, operation).expect("works"));
            let error = run(&writer, last).expect_err("is refused");
            assert_eq!(chain(&error), expected, "{} {last}", lab.driver);
        });
    };
    let errno = |code: i32| std::io::Error::from_raw_os_error(code).to_string();
    check(&["put /lib/x X"], &format!("could not write `/lib/x`: {}", errno(libc::ELOOP)));
    check(&["put /nothing/x X"], &format!("could not write `/nothing/x`: {}", errno(libc::ENOENT)));
    check(&["put /etc/../x X"], &format!("could not write `/etc/../x`: {}", errno(libc::EINVAL)));
    check(&["put /one/x X"], &format!("could not write `/one/x`: {}", errno(libc::ENOTDIR)));
    check(&["put /etc X"], &format!("could not create `/etc`: {}", errno(libc::EISDIR)));
    check(&["dir /new", "put /new X"], &format!("could not create `/new`: {}", errno(libc::EISDIR)));
    check(&["dir /one"], &format!("could not make the directory `/one`: {}", errno(libc::EEXIST)));
    check(&["dir /lib"], &format!("could not make the directory `/lib`: {}", errno(libc::EEXIST)));
    check(&["dirs /lib/x"], &format!("could not make the directory `/lib/x`: {}", errno(libc::ELOOP)));
    check(&["hard /x /etc"], &format!("could not link to `/etc`: {}", errno(libc::EPERM)));
    check(&["hard /x /nothing"], &format!("could not link to `/nothing`: {}", errno(libc::ENOENT)));
    check(&["rm /etc/a", "hard /x /etc/a"], &format!("could not link to `/etc/a`: {}", errno(libc::ENOENT)));
    check(&["rm /"], &format!("could not remove `/`: {}", errno(libc::EBUSY)));
    check(&["char /w 0 0"], "`/w` is a 0:0 character device, which means a deletion in an overlay and is refused");
}

#[test]
fn short_sources_leave_nothing() {
    each(|lab| {
        let state = lab.write(None, |writer| {
            let error = writer.write_file(Path::new("/x"), &mut &b"abc"[..], 5, &mode(0o644)).expect_err("is short");
            assert_eq!(error.to_string(), "`/x` should have 5 bytes, but only 3 came");
        });
        assert!(lab.tree(&state).is_empty());
    });
}

#[test]
fn resolving_and_reading() {
    each(|lab| {
        let base = lab.unpack(
            None,
            &[
                "dir usr",
                "dir usr/lib",
                "link lib usr/lib",
                "link abs /usr",
                "link up ../../../usr",
                "file usr/lib/f F",
                "link loop loop",
                "link dangling nowhere/x",
            ],
        );
        lab.write(Some(&base), |writer| {
            let check = |path: &str, follow: bool, expected: &str| {
                assert_eq!(
                    writer.resolve(Path::new(path), follow).expect("resolves"),
                    PathBuf::from(expected),
                    "{} {path}",
                    lab.driver
                );
            };
            check("/lib/f", true, "/usr/lib/f");
            check("lib", false, "/lib");
            check("/lib", true, "/usr/lib");
            check("/abs/lib/../x/y", true, "/usr/x/y");
            check("/up/lib", true, "/usr/lib");
            check("/../../a/../b", true, "/b");
            check("/dangling", true, "/nowhere/x");
            check("/lib/f/below", true, "/usr/lib/f/below");
            assert_eq!(writer.resolve(Path::new("/loop/x"), true).expect_err("loops").raw_os_error(), Some(libc::ELOOP));
            assert_eq!(writer.read(Path::new("/lib/f"), 1).expect("reads"), Some(b"F".to_vec()));
            assert!(writer.read(Path::new("/lib/f"), 0).is_err());
            assert_eq!(writer.read(Path::new("/lib/none"), 9).expect("reads"), None);
            assert_eq!(writer.read(Path::new("/lib"), 9).expect_err("a directory").raw_os_error(), Some(libc::EISDIR));
            writer.remove(Path::new("/usr/lib/f")).expect("removes");
            assert_eq!(writer.read(Path::new("/lib/f"), 9).expect("reads"), None);
            assert_eq!(writer.entry(Path::new("/usr/lib/f")).expect("looks"), None);
            assert_eq!(writer.entry(Path::new("/lib")).expect("looks").expect("is there").kind, EntryKind::Symlink);
            assert_eq!(writer.entry(Path::new("/")).expect("looks").expect("is there").kind, EntryKind::Dir);
        });
    });
}

#[test]
fn metadata_is_complete() {
    each(|lab| {
        let given = vec![(b"security.capability".to_vec(), capability()), (b"user.note".to_vec(), b"hello".to_vec())];
        let note = vec![given[1].clone()];
        let owned = Attrs { mode: 0o4755, uid: 12, gid: 34, mtime: Some((5, 600)), xattrs: given };
        let foreign = Attrs {
            xattrs: vec![
                (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
                (b"user.overlay.redirect".to_vec(), b"/x".to_vec()),
                (b"security.selinux".to_vec(), b"label".to_vec()),
            ],
            ..mode(0o700)
        };
        let base = lab.write(None, |writer| {
            writer.make_dir(Path::new("/d"), &Attrs { mode: 0o3711, xattrs: note.clone(), ..owned.clone() }).expect("makes");
            writer.make_dir(Path::new("/planted"), &foreign).expect("makes");
            writer.write_file(Path::new("/d/f"), &mut &b"F"[..], 1, &owned).expect("writes");
        });
        let root = |snapshot| lab.snapshotter.driver().view(snapshot).expect("a view");
        let xattrs_of = |view: &rbuild_snapshotter::View, path: &str| xattrs(view.root(), Path::new(path));
        assert_eq!(xattrs_of(&root(&base), "planted"), []);
        // Copied up by something that is written beneath, and by a link.
        let state = lab.write(Some(&base), |writer| {
            put(writer, "/d/new", "x");
            writer.hard_link(Path::new("/d/linked"), Path::new("/d/f")).expect("links");
        });
        let view = root(&state);
        for path in ["d/f", "d/linked"] {
            let stat = view.root().stat(Path::new(path), false).expect("stats").expect("is there");
            assert_eq!((stat.mode, stat.uid, stat.gid, stat.mtime), (0o4755, 12, 34, (5, 600)), "{}", lab.driver);
            assert_eq!(xattrs_of(&view, path), owned.xattrs, "{}", lab.driver);
        }
        let stat = view.root().stat(Path::new("d"), false).expect("stats").expect("is there");
        assert_eq!((stat.mode, stat.uid, stat.gid), (0o3711, 12, 34), "{}", lab.driver);
        assert_eq!(xattrs_of(&view, "d"), note, "{}", lab.driver);
    });
}

/// VFS_CAP_REVISION_2 with CAP_NET_RAW effective.
pub(crate) fn capability() -> Vec<u8> {
    let mut value = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    value.resize(20, 0);
    value
}

#[test]
fn many_threads_write_at_once() {
    each(|lab| {
        let base = lab.unpack(None, &["dir shared 711", "dir shared/below", "file shared/below/old o"]);
        let source = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut &source, b"content").expect("writes");
        let state = lab.write(Some(&base), |writer| {
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let source = &source;
                    scope.spawn(move || {
                        for number in 0..250 {
                            let path = format!("/shared/below/{thread}-{number}");
                            writer.copy_file(Path::new(&path), source.as_fd(), 7, &mode(0o640)).expect("copies");
                        }
                    });
                }
            });
        });
        assert_eq!(lab.changes(&state).len(), 1002, "{}", lab.driver);
        assert_eq!(lab.tree(&state).len(), 1003, "{}", lab.driver);
    });
}

#[test]
fn dropping_throws_away() {
    each(|lab| {
        let active = lab.snapshotter.driver().prepare(None).expect("prepares");
        put(&lab.snapshotter.driver().writer(&active).expect("a writer"), "/x", "X");
        drop(active);
        assert_eq!(staged(lab), 0, "{}", lab.driver);
        let base = lab.write(None, |writer| put(writer, "/x", "X"));
        assert_eq!(staged(lab), 0, "{}", lab.driver);
        let row = lab.snapshotter.store().snapshot(&base.id).expect("reads").expect("is there");
        assert_eq!((row.depth, row.size), (1, 2 * 4096));
    });
}

/// Directories left in the staging of the session.
fn staged(lab: &Lab) -> usize {
    let sessions = lab.dir.path().join("state/sessions");
    let session = fs_err::read_dir(sessions).expect("lists").next().expect("a session").expect("an entry");
    fs_err::read_dir(session.path()).expect("lists").filter(|entry| entry.as_ref().expect("an entry").path().is_dir()).count()
}
