//! What ADD extracts, and what hostile archives cannot do.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use rbuild_fs::archive::{Codec, EntryKind, Header, TarWriter, encoder};
use rbuild_graph::{Archive, Chmod, Copy, Owner, UserName};
use rbuild_worker::Output;

use crate::support::{Bench, DRIVERS, context, copy, lines, message, plant};

/// A tar of lines as in `support`, with `mode[/uid:gid]`; all times are 1.5·10⁹.
fn tar(text: &str) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ');
        let (kind, mode, path) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let rest = words.next().unwrap_or_default();
        let (mode, owner) = mode.split_once('/').unwrap_or((mode, "0:0"));
        let (uid, gid) = owner.split_once(':').unwrap();
        let header = Header {
            path: PathBuf::from(path),
            kind: match kind {
                "d" => EntryKind::Dir,
                "f" => EntryKind::File,
                "l" => EntryKind::Symlink,
                "h" => EntryKind::HardLink,
                "p" => EntryKind::Fifo,
                "c" => EntryKind::CharDevice,
                other => panic!("unknown kind {other}"),
            },
            link: matches!(kind, "l" | "h").then(|| PathBuf::from(rest)),
            mode: u32::from_str_radix(mode, 8).unwrap_or(0o777),
            uid: uid.parse().unwrap(),
            gid: gid.parse().unwrap(),
            size: if kind == "f" { rest.len() as u64 } else { 0 },
            mtime: (1_500_000_000, 0),
            rdev: rest.split_once(':').map_or((0, 0), |(major, minor)| (major.parse().unwrap(), minor.parse().unwrap())),
            xattrs: Vec::new(),
        };
        writer.append(&header, &mut Cursor::new(rest)).unwrap();
    }
    writer.finish().unwrap()
}

fn add(sources: &[&str], target: &str) -> Copy {
    Copy { archive: Archive::Detect, ..copy(sources, target) }
}

/// ADDs archives (by name) onto a base.
fn check(archives: &[(&str, &[u8])], base: &str, copy: &Copy, expected: Result<&str, &str>) {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        for (name, bytes) in archives {
            fs_err::write(bench.context().join(name), bytes).unwrap();
        }
        plant(&bench.context(), "f 644 plain text\n l - link.tar a.tar");
        let base = if base.is_empty() { Output::Scratch } else { bench.state(base) };
        match (bench.copy(&base, &context(), copy), expected) {
            (Ok(output), Ok(expected)) => assert_eq!(bench.tree(&output), lines(expected), "{driver:?} {copy:?}"),
            (Err(error), Err(expected)) => assert!(message(&error).contains(expected), "{}", message(&error)),
            (Ok(output), Err(_)) => panic!("{copy:?}: {}", bench.tree(&output)),
            (Err(error), Ok(_)) => panic!("{driver:?} {copy:?}: {}", message(&error)),
        }
    }
}

const SIMPLE: &str = "d 711/5:6 etc/dnf\n f 4640/7:8 etc/dnf/conf content\n l -/9:9 ln etc/dnf/conf\n h - hard etc/dnf/conf";
const EXTRACTED: &str = "d 755 D/etc\n d 711 5:6 D/etc/dnf\n f 4640 7:8 D/etc/dnf/conf content\n h 4640 7:8 D/hard D/etc/dnf/conf\n l - 9:9 D/ln etc/dnf/conf";

#[test]
fn archives_are_told_by_content() {
    let plain = tar(SIMPLE);
    let compress = |codec| {
        let mut packed = Vec::new();
        let mut to = encoder(codec, Box::new(&mut packed)).unwrap();
        to.write_all(&plain).unwrap();
        to.finish().unwrap();
        packed
    };
    let tool = |program: &str| {
        let mut child = std::process::Command::new(program)
            .arg("-c")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&plain).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    let expected = format!("d 755 d\n {}", EXTRACTED.replace("D/", "d/"));
    for bytes in
        [plain.clone(), compress(Codec::Gzip { level: 5 }), compress(Codec::Zstd { level: 3 }), tool("bzip2"), tool("xz")]
    {
        check(&[("a.bin", &bytes)], "", &add(&["a.bin"], "/d/"), Ok(&expected));
        check(&[("a.bin", &bytes)], "", &add(&["a.bin"], "/d"), Ok(&expected));
    }
    check(&[("a", &plain)], "", &add(&["a"], "/"), Ok(&EXTRACTED.replace("D/", "")));
}

#[test]
fn what_is_no_archive_is_copied() {
    let plain = tar("f 644 f x");
    let mut broken = plain.clone();
    broken[0] ^= 1;
    for bytes in [&broken[..], b"", b"\x1f\x8bnot gzip", &[0; 2048], b"BZh9", &plain[..300]] {
        let expected = format!("f 644 a.tar {}", String::from_utf8_lossy(bytes));
        check(&[("a.tar", bytes)], "", &add(&["a.tar"], "/"), Ok(expected.trim_end()));
    }
    check(&[("a.tar", &plain)], "", &add(&["plain"], "/"), Ok("f 644 plain text"));
    let kept = format!("f 644 a.tar {}", String::from_utf8_lossy(&plain));
    check(&[("a.tar", &plain)], "", &copy(&["a.tar"], "/"), Ok(kept.trim_end()));
    // A link to an archive is not extracted, nor is one in a directory.
    check(&[("a.tar", &plain)], "", &add(&["link.tar"], "/"), Ok(kept.replace("a.tar", "link.tar").trim_end()));
    let must = Copy { archive: Archive::Extract, ..copy(&["plain"], "/") };
    check(&[], "", &must, Err("it is not an archive"));
}

#[test]
fn several_archives_and_files() {
    let (one, two) = (tar("f 644 same 1\n f 644 a 1"), tar("f 644 same 2\n f 644 b 2"));
    let archives: &[(&str, &[u8])] = &[("1.tar", &one), ("2.tar", &two)];
    check(archives, "", &add(&["?.tar"], "/dest"), Ok("d 755 dest\n f 644 dest/a 1\n f 644 dest/b 2\n f 644 dest/same 2"));
    check(archives, "", &add(&["2.tar", "1.tar"], "/"), Ok("f 644 a 1\n f 644 b 2\n f 644 same 1"));
    check(archives, "", &add(&["plain", "1.tar"], "/d/"), Ok("d 755 d\n f 644 d/a 1\n f 644 d/plain text\n f 644 d/same 1"));
    check(archives, "f 644 x file", &add(&["1.tar"], "/x"), Err("cannot copy to non-directory: /x"));
}

#[test]
fn owners_change_and_modes_do_not() {
    let archive = tar("d 700/5:6 d\n f 600/7:8 d/f x\n l -/7:8 d/l f");
    let owner = Some(Owner { user: UserName::Id(1), group: Some(UserName::Id(2)) });
    let owned = Copy { owner, chmod: Some(Chmod::Octal(0o777)), ..add(&["a"], "/x/") };
    check(&[("a", &archive)], "", &owned, Ok("d 777 1:2 x\n d 700 1:2 x/d\n f 600 1:2 x/d/f x\n l - 1:2 x/d/l f"));
}

#[test]
fn entries_replace_one_by_one() {
    let archive = tar(
        "f 644 dir now a file\n d 755 file\n f 644 file/in x\n l - old new\n d 700 keep\n f 644 keep/b 2\n d 700 ./\n l - f g",
    );
    let base = "f 644 dir/x 1\n f 644 file x\n f 644 old x\n f 644 keep/a 1\n f 644 f x\n d 711 other";
    check(
        &[("a", &archive)],
        base,
        &add(&["a"], "/"),
        Ok(
            "f 644 dir now a file\n l - f g\n d 755 file\n f 644 file/in x\n d 700 keep\n f 644 keep/a 1\n f 644 keep/b 2\n l - old new\n d 711 other",
        ),
    );
    // A link to a directory is replaced by a directory, but a file goes through it.
    check(&[("a", &tar("d 700 l\n f 644 l/x 1"))], "l - l d\n d 755 d", &add(&["a"], "/"), Ok("d 755 d\n d 700 l\n f 644 l/x 1"));
    check(&[("a", &tar("f 644 l/x 1"))], "l - l d\n d 755 d", &add(&["a"], "/"), Ok("d 755 d\n f 644 d/x 1\n l - l d"));
}

#[test]
fn whiteouts_mean_nothing() {
    let archive = tar("f 644 d/.wh.x y\n f 644 .wh..wh..opq z");
    check(
        &[("a", &archive)],
        "f 644 d/x 1",
        &add(&["a"], "/"),
        Ok("f 644 .wh..wh..opq z\n d 755 d\n f 644 d/.wh.x y\n f 644 d/x 1"),
    );
}

#[test]
fn nothing_escapes() {
    let marker = tempfile::tempdir().unwrap();
    let outside = marker.path().join("x");
    let escape = |text: &str| tar(&text.replace("OUT", &outside.display().to_string()));
    let nested = |path: &Path| {
        let mut text = String::new();
        let mut made = PathBuf::new();
        for part in path.components().skip(1) {
            made.push(part);
            text += &format!("d 755 D{}\n", Path::new("/").join(&made).display());
        }
        text
    };
    let inside = nested(outside.parent().unwrap());
    let check = |text: &str, expected: &str| {
        check(
            &[("a", &escape(text))],
            "f 644 etc/passwd keep",
            &add(&["a"], "/d/"),
            Ok(&format!("d 755 d\n {expected} d 755 etc\n f 644 etc/passwd keep")),
        );
        assert!(!outside.exists(), "{text}");
    };
    check("f 644 ../../x 1", "f 644 d/x 1\n");
    check("f 644 /x 1", "f 644 d/x 1\n");
    check("f 644 OUT 1", &(inside.replace("D/", "d/") + &format!("f 644 d{} 1\n", outside.display())));
    // Links in the archive count from the destination, as in a chroot.
    check("l - up ..\n f 644 up/etc/passwd 1", "d 755 d/etc\n f 644 d/etc/passwd 1\n l - d/up ..\n");
    check("l - abs /etc\n f 644 abs/passwd 1", "l - d/abs /etc\n d 755 d/etc\n f 644 d/etc/passwd 1\n");
    check("l - f /etc/passwd\n f 644 f 1", "f 644 d/f 1\n");
    check("f 644 a 1\n h - b ../../a", "f 644 d/a 1\n h 644 d/b d/a\n");
}

#[test]
fn refusals() {
    let fails =
        |text: &str, expected: &str| check(&[("a", &tar(text))], "f 644 etc/passwd x", &add(&["a"], "/d/"), Err(expected));
    fails("h - b /etc/passwd", "could not extract to `/d/b`");
    fails("f 644 f x\n f 644 f/g y", "could not extract `f/g` from the archive `a`");
    fails("l - a b\n l - b a\n f 644 a/x 1", "could not extract `a/x` from the archive `a`");
    fails("c 600 w 0:0", "0:0 character device");
    let whole = tar("f 644 f some content\n f 644 g more");
    check(&[("a", &whole[..600])], "", &add(&["a"], "/"), Err("could not extract"));
    check(&[("a", &whole[..1100])], "", &add(&["a"], "/"), Err("could not extract"));
}

#[test]
fn times_are_the_archives() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        fs_err::write(bench.context().join("a"), tar("d 755 d\n f 644 d/f x\n l - d/l x")).unwrap();
        let output = bench.copy(&Output::Scratch, &context(), &add(&["a"], "/x/")).unwrap();
        for path in ["/x/d", "/x/d/f", "/x/d/l"] {
            assert_eq!(bench.mtime(&output, path), (1_500_000_000, 0), "{driver:?} {path}");
        }
    }
}
