//! Layers that others wrote, also with bad intentions.

use rbuild_fs::archive::{EntryKind, Header, TarWriter};
use rbuild_snapshotter::{SnapshotError, TimePolicy};

use crate::fixture::{chain, each, list, tar};

const BASE: [&str; 9] = [
    "dir usr",
    "dir usr/lib 700",
    "file usr/lib/a A",
    "file usr/lib/b B",
    "link lib usr/lib",
    "dir d 711",
    "file d/x X",
    "file d/y Y",
    "file f F",
];

const BASE_TREE: [&str; 9] = ["d/", "d/x X", "d/y Y", "f F", "lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/a A", "usr/lib/b B"];

fn check(entries: &[&str], expected: &[&str]) {
    each(|lab| {
        let base = lab.unpack(None, &BASE);
        let state = lab.unpack(Some(&base), entries);
        assert_eq!(lab.tree(&state), expected, "{} {entries:?}", lab.driver);
        assert_eq!(lab.tree(&base), BASE_TREE, "{}: the parent is as it was", lab.driver);
        // Our own layer of it means the same.
        let again = lab.unpack_bytes(Some(&base), &lab.layer(&state, &TimePolicy::Keep));
        assert_eq!(lab.full_tree(&again), lab.full_tree(&state), "{} {entries:?}", lab.driver);
    });
}

/// The base's tree with lines taken away and added.
fn tree(without: &[&str], with: &[&'static str]) -> Vec<&'static str> {
    let mut lines: Vec<&str> = BASE_TREE.into_iter().filter(|line| !without.contains(line)).chain(with.iter().copied()).collect();
    lines.sort_by_key(|line| std::path::PathBuf::from(line.split(' ').next().expect("a path").trim_end_matches('/')));
    lines
}

#[test]
fn whiteouts() {
    check(&["file .wh.f"], &tree(&["f F"], &[]));
    check(&["file d/.wh.x"], &tree(&["d/x X"], &[]));
    check(&["file .wh.d"], &tree(&["d/", "d/x X", "d/y Y"], &[]));
    check(&["file .wh.nothing", "file nowhere/.wh.x", "file f/.wh.x"], &BASE_TREE);
    // Only what the parents have is hidden, whatever the order.
    check(&["file f new", "file .wh.f"], &tree(&["f F"], &["f new"]));
    check(&["file .wh.f", "file f new"], &tree(&["f F"], &["f new"]));
    check(&["file d/z Z", "file .wh.d"], &tree(&["d/x X", "d/y Y"], &["d/z Z"]));
    check(&["file .wh.d", "dir d", "file d/z Z"], &tree(&["d/x X", "d/y Y"], &["d/z Z"]));
    check(&["file .wh.d", "file d/z Z"], &tree(&["d/x X", "d/y Y"], &["d/z Z"]));
    check(&["file .wh.d", "file d file"], &tree(&["d/", "d/x X", "d/y Y"], &["d file"]));
    // Through a link.
    check(&["file lib/.wh.a"], &tree(&["usr/lib/a A"], &[]));
    // Of a link itself.
    check(&["file .wh.lib"], &tree(&["lib -> usr/lib"], &[]));
}

#[test]
fn opaque_markers() {
    check(&["file d/.wh..wh..opq"], &tree(&["d/x X", "d/y Y"], &[]));
    check(&["file d/z Z", "file d/.wh..wh..opq"], &tree(&["d/x X", "d/y Y"], &["d/z Z"]));
    check(&["file d/.wh..wh..opq", "file d/z Z", "file d/x new"], &tree(&["d/x X", "d/y Y"], &["d/x new", "d/z Z"]));
    check(
        &["file usr/lib/n/x N", "file usr/.wh..wh..opq"],
        &tree(&["usr/lib/a A", "usr/lib/b B"], &["usr/lib/n/", "usr/lib/n/x N"]),
    );
    check(&["file .wh..wh..opq", "file z Z"], &["z Z"]);
    check(&["file z Z", "dir d", "file .wh..wh..opq"], &["d/", "z Z"]);
    check(&["file new/.wh..wh..opq", "file new/x N"], &tree(&[], &["new/", "new/x N"]));
    // What is only there to be linked to is hidden too.
    check(&["hard z d/x", "file d/.wh..wh..opq"], &tree(&["d/x X", "d/y Y"], &["z X"]));
    check(&["hard z d/x", "file d/.wh.x"], &tree(&["d/x X"], &["z X"]));
    check(&["hard z d/x", "file d/x new", "file d/.wh.x"], &tree(&["d/x X"], &["d/x new", "z X"]));
    // aufs's own files.
    check(&["dir .wh..wh.plnk", "file .wh..wh.plnk/1.2 x", "file .wh..wh.aufs", "dir .wh..wh.orph"], &BASE_TREE);
}

#[test]
fn omitted_parents() {
    each(|lab| {
        let base = lab.unpack(None, &BASE);
        let state = lab.unpack(Some(&base), &["file d/new/deep/x N", "file usr/lib/c C"]);
        let expected = [
            "d/ [711 0:0]",
            "d/new/ [755 0:0]",
            "d/new/deep/ [755 0:0]",
            "d/new/deep/x N [644 0:0@1000]",
            "d/x X [644 0:0@1000]",
            "d/y Y [644 0:0@1000]",
            "f F [644 0:0@1000]",
            "lib -> usr/lib [777 0:0@1000]",
            "usr/ [755 0:0]",
            "usr/lib/ [700 0:0]",
            "usr/lib/a A [644 0:0@1000]",
            "usr/lib/b B [644 0:0@1000]",
            "usr/lib/c C [644 0:0@1000]",
        ];
        assert_eq!(lab.full_tree(&state), expected, "{}", lab.driver);
        // Times of directories: those of the parents and of headers stay, new ones are from 1970; nothing is from now.
        let listed = list(&lab.layer(&state, &TimePolicy::Keep));
        let directories: Vec<&String> = listed.iter().filter(|line| line.starts_with("Dir")).collect();
        assert_eq!(
            directories,
            [
                "Dir d/ 711 0:0 @1000",
                "Dir d/new/ 755 0:0 @0",
                "Dir d/new/deep/ 755 0:0 @0",
                "Dir usr/ 755 0:0 @1000",
                "Dir usr/lib/ 700 0:0 @1000"
            ]
        );
    });
}

#[test]
fn links_of_lower_layers() {
    check(&["file lib/c C"], &tree(&[], &["usr/lib/c C"]));
    check(&["dir lib/sub", "file lib/sub/c C"], &tree(&[], &["usr/lib/sub/", "usr/lib/sub/c C"]));
    check(&["link to nowhere", "file to/x N"], &tree(&[], &["nowhere/", "nowhere/x N", "to -> nowhere"]));
    // A directory takes the place of the link, for what follows.
    check(&["file lib/c C", "dir lib", "file lib/d D"], &tree(&["lib -> usr/lib"], &["lib/", "lib/d D", "usr/lib/c C"]));
    check(
        &["dir real", "file lib/c C", "link lib real", "file lib/d D"],
        &tree(&["lib -> usr/lib"], &["lib -> real", "real/", "real/d D", "usr/lib/c C"]),
    );
    // Out of the root it never goes.
    check(&["link up ../../../../..", "file up/x N"], &tree(&[], &["up -> ../../../../..", "x N"]));
    check(&["link abs /etc", "file abs/x N"], &tree(&[], &["abs -> /etc", "etc/", "etc/x N"]));
    check(&["hard c lib/a"], &tree(&["usr/lib/a A"], &["c A", "usr/lib/a =c"]));
    check(&["hard c usr/lib/a", "hard e usr/lib/a"], &tree(&["usr/lib/a A"], &["c A", "e =c", "usr/lib/a =c"]));
    check(&["hard l lib"], &tree(&["lib -> usr/lib"], &["l -> usr/lib", "lib =l"]));
    check(&["hard f f"], &BASE_TREE);
}

#[test]
fn names_end_at_the_root() {
    check(&["file /abs N"], &tree(&[], &["abs N"]));
    check(&["file ../../up N"], &tree(&[], &["up N"]));
    check(&["file d/../../up N"], &tree(&[], &["up N"]));
    check(&["file ./d/./z N"], &tree(&[], &["d/z N"]));
    check(&["hard c /../usr/lib/a"], &tree(&["usr/lib/a A"], &["c A", "usr/lib/a =c"]));
    check(&["dir ./ 700", "dir / 700", "dir .. 700"], &BASE_TREE);
}

#[test]
fn one_name_several_times() {
    check(&["file f one", "file f two"], &tree(&["f F"], &["f two"]));
    check(&["file f one", "dir f", "file f/x N"], &tree(&["f F"], &["f/", "f/x N"]));
    check(&["dir n", "file n/x N", "file n file"], &tree(&[], &["n file"]));
    check(&["file d file"], &tree(&["d/", "d/x X", "d/y Y"], &["d file"]));
    check(&["file d file", "dir d", "file d/z Z"], &tree(&["d/x X", "d/y Y"], &["d/z Z"]));
    check(&["dir d/x", "file d/x/z Z"], &tree(&["d/x X"], &["d/x/", "d/x/z Z"]));
    check(
        &["link d elsewhere", "fifo f", "char lib 1 3"],
        &tree(&["d/", "d/x X", "d/y Y", "f F", "lib -> usr/lib"], &["d -> elsewhere", "f Fifo", "lib CharDevice 1:3"]),
    );
    check(&["dir d 700", "dir usr/lib 711"], &BASE_TREE);
    check(&["file n one", "hard m n", "file n two"], &tree(&[], &["m one", "n two"]));
}

#[test]
fn refused_entries() {
    let errno = |code: i32| std::io::Error::from_raw_os_error(code).to_string();
    let check = |entries: &[&str], expected: &str| {
        each(|lab| {
            let base = lab.unpack(None, &BASE);
            let result = lab.snapshotter.apply(Some(&base), &mut &*tar(entries));
            let error = result.err().unwrap_or_else(|| panic!("{} takes {entries:?}", lab.driver));
            assert_eq!(chain(&error), expected, "{} {entries:?}", lab.driver);
            assert_eq!(lab.tree(&base), BASE_TREE, "{}: the parent is as it was", lab.driver);
        });
    };
    let entry = |entry: &str, cause: &str| format!("layer entry `{entry}` cannot be applied: {cause}");
    let device = "`x` is a 0:0 character device, which means a deletion in an overlay and is refused";
    check(&["char x 0 0"], &entry("x", device));
    check(&["file f/x N"], &entry("f/x", &format!("could not find the directory of `f/x`: {}", errno(libc::ENOTDIR))));
    check(
        &["link loop loop", "file loop/x N"],
        &entry("loop/x", &format!("could not find the directory of `loop/x`: {}", errno(libc::ELOOP))),
    );
    check(&["hard n nothing"], &entry("n", &format!("could not link to `nothing`: {}", errno(libc::ENOENT))));
    check(&["hard n d"], &entry("n", &format!("could not link to `d`: {}", errno(libc::EPERM))));
    check(&["file .wh.f", "hard n f"], &entry("n", &format!("could not link to `f`: {}", errno(libc::ENOENT))));
    let reserved =
        |name: &str| format!("`{name}` cannot be stored in a layer: names that start with `.wh.` mean deletions there");
    check(&["file d/.wh.x/y N"], &entry("d/.wh.x/y", &reserved("d/.wh.x/y")));
    check(&["file d/.wh."], &entry("d/.wh.", &reserved("d/.wh.")));
    check(&["file d/.wh..."], &entry("d/.wh...", &reserved("d/.wh...")));
    let long = "n".repeat(256);
    check(&[&format!("file {long} N")], &entry(&long, &format!("could not write `{long}`: {}", errno(libc::ENAMETOOLONG))));
}

#[test]
fn damaged_tars() {
    each(|lab| {
        let whole = tar(&["dir d", "file d/x 0123456789"]);
        for length in [100, 512, 700, 1024, 1030, 1536] {
            let result = lab.snapshotter.apply(None, &mut &whole[..length]);
            let clean_end = length == 512 || length == 1536;
            assert_eq!(result.is_ok(), clean_end, "{} {length}", lab.driver);
            assert!(result.err().is_none_or(|error| matches!(error, SnapshotError::Archive(_) | SnapshotError::Entry { .. })));
        }
    });
}

#[test]
fn the_stream_is_read_to_its_end() {
    each(|lab| {
        let mut bytes = tar(&["file x X"]);
        bytes.resize(bytes.len() + 300_000, 0);
        let mut stream = &*bytes;
        lab.snapshotter.apply(None, &mut stream).expect("applies");
        assert!(stream.is_empty(), "{}", lab.driver);
    });
}

#[test]
fn attributes_of_entries() {
    each(|lab| {
        let xattr = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
        let mut writer = TarWriter::new(Vec::new());
        let mut entry = |path: &str, kind: EntryKind, xattrs| {
            let header = Header {
                path: path.into(),
                kind,
                link: None,
                mode: 0o7751,
                uid: 5,
                gid: 6,
                size: 0,
                mtime: (-77, 0),
                rdev: (0, 0),
                xattrs,
            };
            writer.append(&header, &mut std::io::empty()).expect("writes");
        };
        entry(
            "d",
            EntryKind::Dir,
            vec![xattr("trusted.overlay.opaque", b"y"), xattr("user.overlay.opaque", b"y"), xattr("user.a", b"1")],
        );
        entry(
            "d/f",
            EntryKind::File,
            vec![
                xattr("security.capability", &crate::writer::capability()),
                xattr("security.selinux", b"label"),
                xattr("trusted.overlay.metacopy", b""),
                xattr("trusted.mine", b"2"),
                xattr("user.b", b"3"),
            ],
        );
        let state = lab.unpack_bytes(None, &writer.finish().expect("writes"));
        let capability = String::from_utf8_lossy(&crate::writer::capability()).into_owned();
        let expected = [
            "d/ [7751 5:6 user.a=1]".to_owned(),
            format!("d/f  [7751 5:6@-77 security.capability={capability} trusted.mine=2 user.b=3]"),
        ];
        assert_eq!(lab.full_tree(&state), expected, "{}", lab.driver);
    });
}
