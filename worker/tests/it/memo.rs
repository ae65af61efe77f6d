//! Digests that are kept from build to build: believed only where they cannot be wrong.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rbuild_worker::{Output, WorkError};

use crate::support::{Bench, DRIVERS, context, copy, plant};

fn key(bench: &Bench) -> [u8; 32] {
    bench.key(&context(), &copy(&["."], "/")).unwrap()
}

fn again(bench: &Bench) -> Bench {
    bench.reopen(DRIVERS[0], |_| {})
}

fn memo(bench: &Bench) -> Vec<u8> {
    let root = fs_err::canonicalize(bench.context()).unwrap();
    fs_err::read(bench.snapshotter.store().context_memo_path(&root)).unwrap_or_default()
}

/// Waits until files changed so far are outside the racy window, by the clock that stamps files.
fn settle(bench: &Bench) {
    let ctime = |path: &Path| {
        let stat = rustix::fs::stat(path).unwrap();
        Duration::new(stat.st_ctime.try_into().unwrap(), stat.st_ctime_nsec.try_into().unwrap())
    };
    let newest = walk_files(&bench.context()).iter().map(|path| ctime(path)).max().unwrap();
    let probe = bench.path().join("probe");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        fs_err::write(&probe, "").unwrap();
        if ctime(&probe) > newest + Duration::from_millis(200) {
            return;
        }
        assert!(Instant::now() < deadline, "the file system's clock stands still");
        std::thread::yield_now();
    }
}

fn walk_files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![root.to_owned()];
    for entry in fs_err::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk_files(&path)) } else { found.push(path) }
    }
    found
}

/// Another content of the same size, with the old modification time.
fn rewrite_secretly(path: &Path, content: &str) {
    let modified = fs_err::metadata(path).unwrap().modified().unwrap();
    let size = fs_err::metadata(path).unwrap().len();
    fs_err::write(path, content).unwrap();
    assert_eq!(fs_err::metadata(path).unwrap().len(), size);
    set_modified(path, modified);
}

fn set_modified(path: &Path, time: SystemTime) {
    fs_err::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_edit_with_the_same_size_and_time_is_seen() {
    // Within the racy window, in the very same tick, and after the digest was kept.
    for settled in [false, true] {
        let bench = Bench::new(DRIVERS[0]);
        plant(&bench.context(), "f 644 a one\n f 644 d/b two");
        if settled {
            settle(&bench);
        }
        let before = key(&bench);
        assert_eq!(memo(&bench).is_empty(), !settled);
        rewrite_secretly(&bench.context().join("a"), "eno");
        assert_ne!(key(&again(&bench)), before, "settled: {settled}");
    }
}

#[test]
fn many_racy_edits() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 a 0000");
    let mut before = key(&bench);
    for round in 1..100 {
        rewrite_secretly(&bench.context().join("a"), &format!("{round:04}"));
        let now = key(&again(&bench));
        assert_ne!(now, before, "round {round}");
        before = now;
    }
}

#[test]
fn kept_digests_are_used() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 a one\n f 644 d/b two\n l - l a");
    settle(&bench);
    let before = key(&bench);
    let kept = memo(&bench);
    assert!(!kept.is_empty());
    // A digest that was tampered with shows that files are not read again; --paranoid reads them.
    let mut wrong = kept.clone();
    let end = wrong.len() - 32;
    wrong[end - 1] ^= 1;
    let checksum = blake3::hash(&wrong[..end]);
    wrong[end..].copy_from_slice(checksum.as_bytes());
    let root = fs_err::canonicalize(bench.context()).unwrap();
    let path = bench.snapshotter.store().context_memo_path(&root);
    fs_err::write(&path, &wrong).unwrap();
    assert_ne!(key(&again(&bench)), before);
    assert_eq!(key(&bench.reopen(DRIVERS[0], |options| options.paranoid = true)), before);
}

#[test]
fn damaged_memos_count_as_empty() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 a one\n f 644 d/b two");
    settle(&bench);
    let before = key(&bench);
    let kept = memo(&bench);
    let root = fs_err::canonicalize(bench.context()).unwrap();
    let path = bench.snapshotter.store().context_memo_path(&root);
    for length in 0..kept.len() {
        fs_err::write(&path, &kept[..length]).unwrap();
        if length % 40 == 0 {
            assert_eq!(key(&again(&bench)), before, "{length} bytes");
        }
    }
    let mut flipped = kept.clone();
    flipped[70] ^= 0x10;
    fs_err::write(&path, &flipped).unwrap();
    assert_eq!(key(&again(&bench)), before);
    assert_eq!(memo(&bench).len(), kept.len(), "a whole memo is written again");
}

#[test]
fn a_file_that_changes_between_key_and_copy_is_not_copied() {
    for settled in [false, true] {
        let bench = Bench::new(DRIVERS[0]);
        plant(&bench.context(), "f 644 a one");
        if settled {
            settle(&bench);
        }
        key(&bench);
        rewrite_secretly(&bench.context().join("a"), "eno");
        let error = bench.copy(&Output::Scratch, &context(), &copy(&["."], "/")).unwrap_err();
        assert!(matches!(&error, WorkError::Changed(path) if path == Path::new("/a")), "{error}");
        assert_eq!(error.to_string(), "`/a` changed while it was read");
    }
}

#[test]
fn a_file_that_was_only_touched_is_copied() {
    let bench = Bench::new(DRIVERS[0]);
    plant(&bench.context(), "f 644 a one");
    key(&bench);
    set_modified(&bench.context().join("a"), SystemTime::UNIX_EPOCH);
    let output = bench.copy(&Output::Scratch, &context(), &copy(&["."], "/")).unwrap();
    assert_eq!(bench.tree(&output), "f 644 a one\n");
}
