//! GNU tar, Python's tarfile and tar-core read what is written here, and are read here.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;
use proptest::prelude::*;
use tar_core::parse::{Limits, ParseEvent, Parser};

use super::*;

/// Runs a program with these bytes as its input.
pub(super) fn run(program: &str, arguments: &[&str], dir: &Path, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} is installed: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A program that has seen enough closes its end.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// One line for each entry.
fn describe(header: &Header) -> String {
    let Header { path, kind, link, mode, uid, gid, size, mtime, rdev, xattrs } = header;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let path = path.as_os_str().as_bytes().strip_suffix(b"/").unwrap_or(path.as_os_str().as_bytes());
    let link = link.as_deref().map_or(String::new(), |link| hex(link.as_os_str().as_bytes()));
    let xattrs: Vec<_> = xattrs.iter().map(|(name, value)| format!("{}={}", hex(name), hex(value))).collect();
    let mtime = mtime.0;
    format!("{} {kind:?} {link} {mode} {uid} {gid} {size} {mtime} {} {} {}", hex(path), rdev.0, rdev.1, xattrs.join(","))
}

const PYTHON: &str = r#"
import sys, tarfile
kinds = {b'0': 'File', b'\0': 'File', b'5': 'Dir', b'2': 'Symlink', b'1': 'HardLink', b'3': 'CharDevice', b'4': 'BlockDevice', b'6': 'Fifo'}
raw = lambda text: text.encode('utf-8', 'surrogateescape').hex()
with tarfile.open(fileobj=sys.stdin.buffer, mode='r|', encoding='utf-8', errors='surrogateescape') as tar:
    for m in tar:
        prefix = 'SCHILY.xattr.'
        xattrs = sorted((k[len(prefix):], v) for k, v in m.pax_headers.items() if k.startswith(prefix))
        xattrs = ','.join(raw(k) + '=' + raw(v) for k, v in xattrs)
        print(raw(m.name), kinds[m.type], raw(m.linkname), m.mode, m.uid, m.gid, m.size, int(m.mtime), m.devmajor, m.devminor, xattrs)
"#;

#[test]
fn python_reads_what_is_written() {
    // It takes values for text.
    let mut entries = everything();
    entries.last_mut().unwrap().xattrs[0].1 = b"a\nb=c".to_vec();
    let listing = String::from_utf8(run("python3", &["-c", PYTHON], Path::new("/"), &write(&entries))).unwrap();
    let expect: Vec<_> = entries.iter().map(describe).collect();
    let strip = |line: &str| line.trim_end().to_owned();
    assert_eq!(listing.lines().map(strip).collect::<Vec<_>>(), expect.iter().map(|line| strip(line)).collect::<Vec<_>>());
}

#[test]
fn gnu_tar_extracts_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut entries = everything();
    // The times that the file system has; GNU tar strips slashes of links that are no links.
    entries.retain(|entry| {
        !matches!(entry.path.to_str().unwrap(), "xattrs" | "future" | "block" | "hardlong") && !entry.path.starts_with("long")
    });
    entries.push(Header { xattrs: vec![(b"user.test".to_vec(), b"a\nb".to_vec())], ..file("xattrs", 10) });
    run("tar", &["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-"], dir.path(), &write(&entries));
    let root = crate::Root::open(dir.path()).unwrap();
    for entry in &entries {
        let stat = root.stat(&entry.path, false).unwrap().unwrap_or_else(|| panic!("{} is there", entry.path.display()));
        if !matches!(entry.kind, EntryKind::HardLink | EntryKind::Symlink) {
            assert_eq!((stat.mode, stat.uid, stat.gid, stat.mtime), (entry.mode, entry.uid, entry.gid, entry.mtime), "{entry:?}");
        }
        if entry.kind == EntryKind::Symlink {
            assert_eq!(Some(root.read_link(&entry.path).unwrap()), entry.link);
        }
    }
    let xattrs = root.open_path(Path::new("xattrs"), false).unwrap();
    assert_eq!(crate::xattr::list(std::os::fd::AsFd::as_fd(&xattrs)).unwrap(), [(b"user.test".to_vec(), b"a\nb".to_vec())]);
}

#[test]
fn gnu_tar_lists_what_is_written() {
    let listing = run("tar", &["--numeric-owner", "--quoting-style=escape", "-tvf", "-"], Path::new("/"), &write(&everything()));
    let listing = String::from_utf8(listing).unwrap();
    assert_eq!(listing.lines().count(), everything().len());
    for expect in [
        "link -> /target with spaces\\nand lines\n",
        "hard link to plain\n",
        "2097151,7",
        "-rwsr-sr-t 2097151/2097152",
        "4294967294/1",
        "1969-12-31 23:59 ancient",
        "2242-03-16 12:56 future",
        "drw-r--r-- 0/0               0 2023-11-14 22:13 dir/",
    ] {
        assert!(listing.contains(expect), "{expect} in {listing}");
    }
}

#[test]
fn formats_of_gnu_tar_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let deep = "directory-name/".repeat(9) + "file";
    fs::create_dir_all(dir.path().join("tree").join(&deep).parent().unwrap()).unwrap();
    fs::write(dir.path().join("tree").join(&deep), "deep").unwrap();
    fs::write(dir.path().join("tree/big"), vec![b'b'; 1_000_000]).unwrap();
    fs::hard_link(dir.path().join("tree/big"), dir.path().join("tree/hard")).unwrap();
    std::os::unix::fs::symlink(&deep, dir.path().join("tree/link")).unwrap();
    let root = crate::Root::open(&dir.path().join("tree")).unwrap();
    crate::place::make_node(root.fd(), "device".as_ref(), crate::Kind::CharDevice, rustix::fs::makedev(1, 3)).unwrap();
    crate::place::set_times(root.fd(), "big".as_ref(), (-1000, 250_000_000)).unwrap();
    for (format, fraction) in [("gnu", false), ("oldgnu", false), ("posix", true), ("ustar", false)] {
        if format == "ustar" {
            crate::place::set_times(root.fd(), "big".as_ref(), (1000, 0)).unwrap();
            crate::place::unlink(root.fd(), "link".as_ref()).unwrap();
            crate::place::make_symlink(root.fd(), "link".as_ref(), Path::new(&deep[60..])).unwrap();
        }
        let arguments = ["-c", "--numeric-owner", "--sort=name", &format!("--format={format}"), "-f", "-", "tree"];
        let tar = run("tar", &arguments, dir.path(), b"");
        let entries = read(&tar).unwrap();
        let names: Vec<_> =
            entries.iter().map(|(header, _)| header.path.strip_prefix("tree").unwrap().to_str().unwrap()).collect();
        assert_eq!(names[..4], ["", "big", "device", "directory-name"], "{format}");
        let by_name = |name: &str| entries.iter().find(|(header, _)| header.path.ends_with(name)).unwrap();
        assert_eq!(by_name("big").1.len(), 1_000_000);
        let mtime = match (format, fraction) {
            ("ustar", _) => (1000, 0),
            (_, true) => (-1000, 250_000_000),
            (_, false) => (-1000, 0),
        };
        assert_eq!(by_name("big").0.mtime, mtime, "{format}");
        assert_eq!(by_name(&deep).1, b"deep");
        assert_eq!(by_name("link").0.link.as_deref(), Some(&*root.read_link(Path::new("link")).unwrap()));
        assert_eq!(by_name("hard").0.link.as_deref(), Some(Path::new("tree/big")));
        assert_eq!(by_name("device").0.rdev, (1, 3));
    }
}

#[test]
fn v7_of_gnu_tar_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("dir/file"), "content").unwrap();
    let tar = run("tar", &["-c", "--format=v7", "-f", "-", "dir"], dir.path(), b"");
    let entries = read(&tar).unwrap();
    assert_eq!((entries[0].0.kind, entries[1].0.kind), (EntryKind::Dir, EntryKind::File));
    assert_eq!(entries[1].1, b"content");
}

#[test]
fn tar_core_agrees() {
    proptest!(|(entries in prop::collection::vec(super::written::any_header(), 1..4))| {
        let tar = write(&entries);
        let mut parser = Parser::new(Limits { max_path_len: None, ..Limits::default() });
        // It has no negative times.
        parser.set_ignore_pax_errors(true);
        let mut rest = &*tar;
        for expect in entries.iter() {
            let ParseEvent::Entry { consumed, entry } = parser.parse(rest).unwrap() else { panic!("an entry") };
            prop_assert_eq!(&*entry.path, expect.path.as_os_str().as_bytes());
            prop_assert_eq!(entry.link_target.as_deref(), expect.link.as_ref().map(|link| link.as_os_str().as_bytes()));
            prop_assert_eq!((entry.size, entry.mode), (expect.size, expect.mode));
            prop_assert_eq!((entry.uid, entry.gid), (u64::from(expect.uid), u64::from(expect.gid)));
            let xattrs: Vec<_> = entry.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(&xattrs, &expect.xattrs);
            if expect.mtime.0 >= 0 {
                prop_assert_eq!(entry.mtime, u64::try_from(expect.mtime.0).unwrap());
            }
            let skip = consumed + usize::try_from(entry.padded_size()).unwrap();
            rest = &rest[skip..];
        }
    });
}
