//! What changes a content key, and what does not.

use rbuild_graph::{Archive, Copy};
use rbuild_worker::Output;

use crate::support::{Bench, DRIVERS, context, copy, plant};

/// Keys of two contexts (as local directories, and as snapshots on both drivers) must be equal or differ.
fn check(one: &str, two: &str, copy: &Copy, equal: bool) {
    let key = |lines: &str| {
        let bench = Bench::new(DRIVERS[0]);
        plant(&bench.context(), lines);
        bench.key(&context(), copy).unwrap()
    };
    assert_eq!(key(one) == key(two), equal, "context {copy:?}\n{one}\n{two}");
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        let key = |lines: &str| bench.key(&bench.state(lines), copy).unwrap();
        assert_eq!(key(one) == key(two), equal, "{driver:?} {copy:?}\n{one}\n{two}");
    }
}

#[test]
fn what_counts() {
    let differ = |one: &str, two: &str| check(one, two, &copy(&["d"], "/"), false);
    let same = |one: &str, two: &str| check(one, two, &copy(&["d"], "/"), true);
    differ("f 644 d/a 1", "f 644 d/a 2");
    differ("f 644 d/a 1", "f 644 d/b 1");
    differ("f 644 d/a 1", "f 600 d/a 1");
    differ("f 644 d/a 1", "f 644 d/a 1\n d 755 d/e");
    differ("d 755 d/e", "d 700 d/e");
    differ("d 755 d/e", "f 755 d/e");
    differ("l - d/l x", "l - d/l y");
    differ("f 644 d/a b", "l - d/a b");
    differ("f 644 d/a/b 1\n f 644 d/c 2", "f 644 d/a/c 2\n f 644 d/b 1");
    differ("p 600 d/x", "s 600 d/x");
    differ("c 600 d/x 1:3", "c 600 d/x 1:5");
    // Neither the copied directory itself nor what is beside it.
    same("f 644 d/a 1\n d 755 d", "f 644 d/a 1\n d 700 d");
    same("f 644 d/a 1", "f 644 d/a 1\n f 644 other x");
    same("f 644 d/a 1\n h - d/b d/a", "f 644 d/a 1\n f 644 d/b 1");
}

#[test]
fn files_and_wildcards() {
    check("f 644 a 1\n f 644 b 2", "f 644 a 1\n f 644 b 3", &copy(&["a"], "/"), true);
    check("f 644 a.x 1\n f 644 b 2", "f 644 a.x 1\n f 644 b 3", &copy(&["*.x"], "/"), true);
    check("f 644 a.x 1", "f 644 b.x 1", &copy(&["*.x"], "/"), false);
    check("f 644 a.x 1", "f 644 a.x 1\n f 644 b.x 1", &copy(&["*.x"], "/"), false);
    check("f 644 a/f 1", "f 644 b/f 1", &copy(&["?"], "/"), true);
    // A link that is named counts by what it leads to, but ADD would not extract through it.
    check("f 644 a 1\n l - l a", "f 644 b 1\n l - l b", &copy(&["l"], "/"), true);
    check("f 644 a 1\n l - l a", "f 644 l 1", &copy(&["l"], "/"), true);
    let add = Copy { archive: Archive::Detect, ..copy(&["l"], "/") };
    check("f 644 a 1\n l - l a", "f 644 l 1", &add, false);
    let exclude = Copy { exclude: vec!["*.log".to_owned()], ..copy(&["d"], "/") };
    check("f 644 d/a 1\n f 644 d/b.log 1", "f 644 d/a 1\n f 644 d/b.log 2", &exclude, true);
}

#[test]
fn sources_of_one_file_differ_by_name_only() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 a 1\n f 644 b 1\n f 644 x/a 1");
    let key = |path: &str| bench.key(&context(), &copy(&[path], "/")).unwrap();
    assert_ne!(key("a"), key("b"));
    assert_eq!(key("a"), key("x/a"));
}

#[test]
fn times_do_not_count_and_owners_of_contexts_are_root() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 d/a 1");
    let one = bench.key(&context(), &copy(&["d"], "/")).unwrap();
    let file = fs_err::File::options().write(true).open(bench.context().join("d/a")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    std::os::unix::fs::chown(bench.context().join("d/a"), Some(5), Some(6)).unwrap();
    let again = bench.reopen(DRIVERS[0], |_| {});
    assert_eq!(again.key(&context(), &copy(&["d"], "/")).unwrap(), one);
}

#[test]
fn xattrs_count() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 d/a 1\n d 755 d/e");
    let key = |bench: &Bench| bench.key(&context(), &copy(&["d"], "/")).unwrap();
    let mut keys = vec![key(&bench)];
    for path in ["d/a", "d/e"] {
        let path = bench.context().join(path);
        rustix::fs::setxattr(&path, "user.x", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        keys.push(key(&bench.reopen(DRIVERS[0], |_| {})));
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3);
}

#[test]
fn a_context_and_its_copy_have_one_key() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        plant(&bench.context(), "f 644 d/a 1\n l - d/l a\n d 755 d/e\n p 600 d/p");
        let copied = bench.copy(&Output::Scratch, &context(), &copy(&["."], "/")).unwrap();
        let key = |output: &Output| bench.key(output, &copy(&["d"], "/")).unwrap();
        assert_eq!(key(&context()), key(&copied), "{driver:?}");
        // The second time it is noted.
        assert_eq!(key(&context()), key(&copied), "{driver:?}");
    }
}

#[test]
fn only_what_is_copied_is_looked_at() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 wanted/file 1\n l - loop loop\n f 644 other/x 2");
    bench.key(&context(), &copy(&["wanted/file"], "/")).unwrap();
    // What was not looked at is not frozen: the tree may still change elsewhere.
    fs_err::write(bench.context().join("other/x"), "3").unwrap();
    let output = bench.copy(&Output::Scratch, &context(), &copy(&["other"], "/")).unwrap();
    assert_eq!(bench.tree(&output), "f 644 x 3\n");
}

#[test]
fn keys_have_not_changed() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 d/a 1\n d 755 d/e\n l - d/l a");
    let key = bench.key(&context(), &copy(&["d"], "/")).unwrap();
    assert_eq!(hex(&key), "cf3be05fad4bf71ad453d5aaa80800840b26a4a68ba0c274377283afb8cd5232");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
