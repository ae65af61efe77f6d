//! What COPY writes, on both drivers.

use crate::support::{Bench, DRIVERS, NOW, context, copy, describe, lines, message, plant};
use rbuild_graph::{Chmod, Copy, Owner, Timestamp, UserName};
use rbuild_worker::{Output, WorkError};

/// Copies from a context onto a base and compares the whole result, or the error.
fn check(source: &str, base: &str, copy: &Copy, expected: Result<&str, &str>) {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), source);
        let base = if base.is_empty() { Output::Scratch } else { bench.state(base) };
        let copied = bench.copy(&base, &context(), copy);
        match (copied, expected) {
            (Ok(output), Ok(expected)) => assert_eq!(bench.tree(&output), lines(expected), "{driver:?} {copy:?}"),
            (Ok(output), Err(expected)) => panic!("no `{expected}` but\n{}", bench.tree(&output)),
            (Err(error), Ok(_)) => panic!("{} {copy:?}", message(&error)),
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected, "{driver:?} {copy:?}"),
        }
    }
}

const TREE: &str = "
    d 700 dir
    f 600 dir/a A
    d 750 dir/sub
    f 4755 dir/sub/b B
    l - dir/link a
    f 640 file F
    f 644 other O";

#[test]
fn directories_give_their_content() {
    let expected = "d 755 new\n f 600 new/a A\n l - new/link a\n d 750 new/sub\n f 4755 new/sub/b B";
    check(TREE, "", &copy(&["dir"], "/new"), Ok(expected));
    check(TREE, "", &copy(&["dir"], "/new/"), Ok(expected));
    check(TREE, "", &copy(&["dir/"], "/new"), Ok(expected));
    check(TREE, "d 711 new", &copy(&["dir"], "/new"), Ok(&expected.replace("d 755 new\n", "d 711 new\n")));
    check(TREE, "", &copy(&["dir"], "/"), Ok("f 600 a A\n l - link a\n d 750 sub\n f 4755 sub/b B"));
}

#[test]
fn files_go_into_directories() {
    check(TREE, "", &copy(&["file"], "/new"), Ok("f 640 new F"));
    check(TREE, "", &copy(&["file"], "/new/"), Ok("d 755 new\n f 640 new/file F"));
    check(TREE, "d 755 new", &copy(&["file"], "/new"), Ok("d 755 new\n f 640 new/file F"));
    check(TREE, "", &copy(&["file"], "/a/b/new"), Ok("d 755 a\n d 755 a/b\n f 640 a/b/new F"));
    check(TREE, "", &copy(&["file/"], "/new"), Ok("f 640 new F"));
    check(TREE, "", &copy(&["file"], "/"), Ok("f 640 file F"));
    check(TREE, "f 600 new old", &copy(&["file"], "/new"), Ok("f 640 new F"));
}

#[test]
fn several_sources() {
    let both = "d 755 new\n f 640 new/file F\n f 644 new/other O";
    check(TREE, "", &copy(&["file", "other"], "/new/"), Ok(both));
    check(TREE, "d 755 new", &copy(&["file", "other"], "/new"), Ok(both));
    let error = "`/new` is not a directory, but 2 files are copied to it";
    check(TREE, "", &copy(&["file", "other"], "/new"), Err(error));
    let tree = "f 644 one/a 1\n f 644 one/b 1\n f 600 two/b 2\n d 700 one/s\n d 711 two/s";
    check(tree, "", &copy(&["one", "two"], "/x"), Ok("d 755 x\n f 644 x/a 1\n f 600 x/b 2\n d 711 x/s"));
    let tree = "f 644 one/a 1\n f 644 two/a/b 2";
    check(tree, "", &copy(&["one", "two"], "/x"), Err("cannot copy to non-directory: /x/a"));
    check(tree, "", &copy(&["two", "one"], "/x"), Err("cannot replace to directory /x/a with file"));
}

#[test]
fn wildcards() {
    let tree = "f 644 a.txt 1\n f 644 b.txt 2\n f 644 c.md 3\n f 644 sub/d.txt 4\n f 644 sub/x/e.txt 5\n f 644 arr[0].txt 6";
    check(tree, "", &copy(&["*.txt"], "/w/"), Ok("d 755 w\n f 644 w/a.txt 1\n f 644 w/arr[0].txt 6\n f 644 w/b.txt 2"));
    check(tree, "", &copy(&["[^c].*"], "/w/"), Ok("d 755 w\n f 644 w/a.txt 1\n f 644 w/b.txt 2"));
    check(tree, "", &copy(&["*/*.txt"], "/w/"), Ok("d 755 w\n f 644 w/d.txt 4"));
    check(tree, "", &copy(&["**/*.txt"], "/w/"), Ok("d 755 w\n f 644 w/d.txt 4"));
    check(tree, "", &copy(&["sub/*"], "/w/"), Ok("d 755 w\n f 644 w/d.txt 4\n f 644 w/e.txt 5"));
    check(tree, "", &copy(&["s?b"], "/w"), Ok("d 755 w\n f 644 w/d.txt 4\n d 755 w/x\n f 644 w/x/e.txt 5"));
    check(tree, "", &copy(&["arr[[]0].txt"], "/w/"), Ok("d 755 w\n f 644 w/arr[0].txt 6"));
    check(tree, "", &copy(&["nothing*"], "/w/"), Ok(""));
    check(tree, "", &copy(&["none/*"], "/w/"), Ok(""));
    check(tree, "", &copy(&["a.txt", "nothing*"], "/w"), Ok("f 644 w 1"));
}

#[test]
fn missing_paths() {
    let missing = "failed to calculate checksum of ref context: \"/nope\": not found";
    check(TREE, "", &copy(&["nope"], "/"), Err(missing));
    check(TREE, "", &copy(&["file/x"], "/"), Err(&missing.replace("/nope", "/file/x")));
    check("l - dangling nowhere", "", &copy(&["dangling"], "/"), Err(&missing.replace("/nope", "/dangling")));
}

#[test]
fn hints_name_what_is_near() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 src/package.json x");
    let error = bench.copy(&Output::Scratch, &context(), &copy(&["src/pakage.json"], "/")).unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `/src/package.json`?");
    assert_eq!(error.class(), rbuild_worker::ErrorClass::Dockerfile);
}

#[test]
fn links() {
    // A link that is named is followed inside the source, links below are copied.
    let tree = "f 644 d/real R\n l - d/l real\n l - top d/real\n l - dirlink d\n l - out ../../../../d/real\n l - abs /d/l";
    check(tree, "", &copy(&["top"], "/x"), Ok("f 644 x R"));
    check(tree, "", &copy(&["top"], "/x/"), Ok("d 755 x\n f 644 x/top R"));
    check(tree, "", &copy(&["dirlink"], "/x"), Ok("d 755 x\n l - x/l real\n f 644 x/real R"));
    check(tree, "", &copy(&["dirlink/l"], "/x"), Ok("f 644 x R"));
    check(tree, "", &copy(&["out"], "/x"), Ok("f 644 x R"));
    check(tree, "", &copy(&["abs"], "/x"), Ok("f 644 x R"));
    check(tree, "", &copy(&["d/l*"], "/x/"), Ok("d 755 x\n f 644 x/l R"));
    check("l - a b\n l - b a", "", &copy(&["a"], "/x"), Err("could not read `/a`"));
}

#[test]
fn destination_links_are_followed_once() {
    check(TREE, "l - to real\n f 600 real old", &copy(&["file"], "/to"), Ok("f 640 real F\n l - to real"));
    check(TREE, "l - to /real\n d 755 real", &copy(&["file"], "/to"), Ok("d 755 real\n f 640 real/file F\n l - to /real"));
    check(TREE, "l - to ../../x/y", &copy(&["file"], "/to/"), Ok("l - to ../../x/y\n d 755 x\n d 755 x/y\n f 640 x/y/file F"));
    check(TREE, "l - to x/y", &copy(&["file"], "/to"), Ok("l - to x/y\n d 755 x\n f 640 x/y F"));
    check(TREE, "l - to x\n d 755 x", &copy(&["file"], "/to/a/b"), Ok("l - to x\n d 755 x\n d 755 x/a\n f 640 x/a/b F"));
    // Inside a copied directory nothing is followed.
    let tree = "d 755 src/sub\n f 644 src/sub/f 1\n f 644 src/file 2";
    check(
        tree,
        "l - to/sub elsewhere\n d 755 to/elsewhere",
        &copy(&["src"], "/to"),
        Err("cannot copy to non-directory: /to/sub"),
    );
    check(
        tree,
        "l - to/file /etc/x\n f 644 etc/x keep",
        &copy(&["src"], "/to"),
        Ok("d 755 etc\n f 644 etc/x keep\n d 755 to\n f 644 to/file 2\n d 755 to/sub\n f 644 to/sub/f 1"),
    );
}

#[test]
fn what_may_replace_what() {
    check(TREE, "f 644 to x", &copy(&["dir"], "/to"), Err("cannot copy to non-directory: /to"));
    check(TREE, "f 644 to x", &copy(&["file"], "/to/y"), Err("cannot copy to non-directory: /to"));
    check(TREE, "f 644 to/sub x", &copy(&["dir"], "/to"), Err("cannot copy to non-directory: /to/sub"));
    check(TREE, "d 755 to/a", &copy(&["dir"], "/to"), Err("cannot replace to directory /to/a with file"));
    check(TREE, "d 755 to/file", &copy(&["file"], "/to"), Err("cannot replace to directory /to/file with file"));
    check("l - d/x y", "d 755 to/x", &copy(&["d"], "/to"), Err("cannot replace to directory /to/x with file"));
    // A directory that is there gets the source's mode; what else is in it stays.
    check(
        TREE,
        "d 777 to/sub\n f 644 to/sub/keep K",
        &copy(&["dir"], "/to"),
        Ok("d 755 to\n f 600 to/a A\n l - to/link a\n d 750 to/sub\n f 4755 to/sub/b B\n f 644 to/sub/keep K"),
    );
    check(TREE, "p 600 to/a", &copy(&["dir/a"], "/to/"), Ok("d 755 to\n f 600 to/a A"));
}

#[test]
fn owners_and_modes() {
    let owner = |user: UserName, group: Option<UserName>| Some(Owner { user, group });
    let id = UserName::Id;
    let by_number = Copy { owner: owner(id(11), Some(id(22))), chmod: Some(Chmod::Octal(0o705)), ..copy(&["dir"], "/out/deep/") };
    check(
        TREE,
        "",
        &by_number,
        Ok(
            "d 705 11:22 out\n d 705 11:22 out/deep\n f 705 11:22 out/deep/a A\n l - 11:22 out/deep/link a\n d 705 11:22 out/deep/sub\n f 705 11:22 out/deep/sub/b B",
        ),
    );
    check(TREE, "", &Copy { owner: owner(id(7), None), ..copy(&["file"], "/x") }, Ok("f 640 7:7 x F"));
    check(TREE, "", &Copy { chmod: Some(Chmod::Octal(0)), ..copy(&["file"], "/x") }, Ok("f 0 x F"));
    let symbolic = Copy { chmod: Some(Chmod::Symbolic("go=rX".to_owned())), ..copy(&["dir"], "/p/x") };
    check(TREE, "", &symbolic, Ok("d 755 p\n d 755 p/x\n f 644 p/x/a A\n l - p/x/link a\n d 755 p/x/sub\n f 4755 p/x/sub/b B"));
    let name = |name: &str| UserName::Name(name.to_owned());
    let base = "f 644 etc/passwd daemon:x:1:5:d:/:/bin/sh\n f 644 etc/group www-data:x:33:";
    let etc = "d 755 etc\n f 644 etc/group www-data:x:33:\n f 644 etc/passwd daemon:x:1:5:d:/:/bin/sh\n";
    let named = Copy { owner: owner(name("daemon"), None), ..copy(&["file"], "/x") };
    check(TREE, base, &named, Ok(&format!("{etc} f 640 1:5 x F")));
    let named = Copy { owner: owner(name("daemon"), Some(name("www-data"))), ..copy(&["file"], "/x") };
    check(TREE, base, &named, Ok(&format!("{etc} f 640 1:33 x F")));
    let root = Copy { owner: owner(name("root"), Some(name("root"))), ..copy(&["file"], "/x") };
    check(TREE, "", &root, Ok("f 640 x F"));
    let unknown = Copy { owner: owner(name("deamon"), None), ..copy(&["file"], "/x") };
    check(TREE, base, &unknown, Err("unable to find user deamon: no matching entries in passwd file"));
}

#[test]
fn kinds_and_hard_links() {
    let tree = "f 644 d/a A\n h - d/b d/a\n f 644 d/c C\n h - outside d/c\n p 640 d/fifo\n s 600 d/sock\n c 660 d/null 1:3";
    let expected = "d 755 x\n f 644 x/a A\n h 644 x/b x/a\n f 644 x/c C\n p 640 x/fifo\n c 660 x/null 1:3\n s 600 x/sock";
    check(tree, "", &copy(&["d"], "/x"), Ok(expected));
    check(tree, "", &copy(&["d/a", "d/b"], "/x/"), Ok("d 755 x\n f 644 x/a A\n h 644 x/b x/a"));
    let whiteout = "could not make node `/x/w`";
    check("c 600 d/w 0:0", "", &copy(&["d"], "/x"), Err(whiteout));
}

#[test]
fn times() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), "f 644 d/sub/f 1\n l - d/l f");
        let set = |path: &str, seconds: i64| {
            let path = bench.context().join(path);
            let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
        };
        set("d/sub/f", 100);
        set("d/l", 150);
        set("d/sub", 200);
        set("d", 300);
        let output = bench.copy(&Output::Scratch, &context(), &copy(&["d"], "/parent/new")).unwrap();
        let check = |path: &str, time: (i64, u32)| assert_eq!(bench.mtime(&output, path), time, "{driver:?} {path}");
        check("/parent/new/sub/f", (100, 123_456_789));
        check("/parent/new/l", (150, 123_456_789));
        check("/parent/new/sub", (200, 123_456_789));
        check("/parent/new", (300, 123_456_789));
        check("/parent", (NOW, 0));
        let epoch = Copy { created: Timestamp::Epoch(42), ..copy(&["d/sub/f"], "/p/q/") };
        let output = bench.copy(&output, &context(), &epoch).unwrap();
        for path in ["/p", "/p/q"] {
            assert_eq!(bench.mtime(&output, path), (42, 0), "{driver:?} {path}");
        }
    }
}

#[test]
fn stages_keep_owners() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), "f 644 app/some/file x");
        let owner = Some(Owner { user: UserName::Id(123), group: None });
        let stage = bench.copy(&Output::Scratch, &context(), &Copy { owner, ..copy(&["app"], "/app/sub") }).unwrap();
        let output = bench.copy(&Output::Scratch, &stage, &copy(&["app"], "/my")).unwrap();
        let expected = "d 755 my\n d 755 123:123 my/sub\n d 755 my/sub/some\n f 644 my/sub/some/file x";
        let expected = expected.replace("755 my/sub/some", "755 123:123 my/sub/some").replace("644 my", "644 123:123 my");
        assert_eq!(bench.tree(&output), lines(&expected), "{driver:?}");
    }
}

#[test]
fn xattrs_come_along() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), "f 644 d/f x\n d 755 d/s");
        for path in ["d/f", "d/s"] {
            let path = bench.context().join(path);
            rustix::fs::setxattr(&path, "user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
        }
        let output = bench.copy(&Output::Scratch, &context(), &copy(&["d"], "/x")).unwrap();
        let snapshot = bench.block_on(bench.worker.snapshot(&output)).unwrap().unwrap();
        let view = bench.snapshotter.driver().view(&snapshot).unwrap();
        let file = view.root().open_file("/x/f".as_ref()).unwrap();
        let found = rbuild_fs::xattr::get(std::os::fd::AsFd::as_fd(&file), b"user.note").unwrap();
        assert_eq!(found.as_deref(), Some(&b"kept"[..]), "{driver:?}");
    }
}

#[test]
fn nothing_of_a_failed_copy_stays() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), TREE);
        let before = snapshots(&bench);
        bench.copy(&Output::Scratch, &context(), &copy(&["dir", "nope"], "/x")).unwrap_err();
        bench.cancel.cancel();
        let cancelled = bench.copy(&Output::Scratch, &context(), &copy(&["dir"], "/x")).unwrap_err();
        assert!(matches!(cancelled, WorkError::Cancelled));
        assert_eq!(snapshots(&bench), before, "{driver:?}");
    }
}

fn snapshots(bench: &Bench) -> usize {
    fs_err::read_dir(bench.path().join("state/snapshots")).map_or(0, Iterator::count)
}

#[test]
fn excluded_paths() {
    let tree = "f 644 app/a 1\n f 644 app/b.log 2\n f 644 app/s/c.log 3\n f 644 app/s/keep.log 4\n d 755 app/e";
    let without =
        |patterns: &[&str]| Copy { exclude: patterns.iter().map(|&text| text.to_owned()).collect(), ..copy(&["app"], "/x") };
    check(
        tree,
        "",
        &without(&["*.log", "e"]),
        Ok("d 755 x\n f 644 x/a 1\n d 755 x/s\n f 644 x/s/c.log 3\n f 644 x/s/keep.log 4"),
    );
    check(tree, "", &without(&["**/*.log", "!s/keep.log", "e"]), Ok("d 755 x\n f 644 x/a 1\n d 755 x/s\n f 644 x/s/keep.log 4"));
    check(tree, "", &without(&["s", "!s/keep.log", "e", "b*"]), Ok("d 755 x\n f 644 x/a 1\n d 755 x/s\n f 644 x/s/keep.log 4"));
}

#[test]
fn many_files_in_parallel() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        let mut text = String::new();
        for index in 0..1000 {
            text += &format!("f 644 t/d{}/f{index} {index}\n", index % 37);
        }
        plant(&bench.context(), &text);
        let output = bench.copy(&Output::Scratch, &context(), &copy(&["."], "/")).unwrap();
        let source = rbuild_fs::Root::open(&bench.context()).unwrap();
        assert_eq!(bench.tree(&output), describe(&source), "{driver:?}");
    }
}
