//! Broken and hostile tars: always an error, never a panic, never an early end.

use std::io::ErrorKind;

use proptest::prelude::*;

use super::*;
use crate::archive::header::{BLOCK, Block, GID, LINK, MAGIC, MODE, MTIME, NAME, SIZE, TYPE, UID};
use crate::archive::pax::write_record;

/// A block with these fields and a right checksum.
fn block(flag: u8, fields: &[(std::ops::Range<usize>, &[u8])]) -> Vec<u8> {
    let mut block = Block([0; BLOCK]);
    block.0[TYPE] = flag;
    block.0[MAGIC].copy_from_slice(b"ustar\x0000");
    block.0[NAME][..4].copy_from_slice(b"name");
    for (field, value) in fields {
        block.0[field.clone()][..value.len()].copy_from_slice(value);
    }
    block.seal();
    block.0.to_vec()
}

fn extended(flag: u8, content: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}\0", content.len());
    let mut tar = block(flag, &[(SIZE, size.as_bytes())]);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        write_record(&mut content, key.as_bytes(), value);
    }
    extended(b'x', &content)
}

fn one(parts: &[&[u8]]) -> std::io::Result<Header> {
    let tar = parts.concat();
    Ok(read(&tar)?.into_iter().next().expect("one entry").0)
}

fn check_error(parts: &[&[u8]], message: &str) {
    let error = one(parts).unwrap_err();
    assert!(error.to_string().contains(message), "`{error}` has no `{message}`");
}

#[test]
fn a_cut_anywhere_is_an_error_or_between_entries() {
    let tar = write(&everything());
    let mut ends = vec![0];
    let position = std::cell::Cell::new(0);
    let mut reader = TarReader::new(Counted { from: &tar, position: &position });
    while reader.next_entry().unwrap().is_some() {
        std::io::copy(reader.body(), &mut std::io::sink()).unwrap();
        ends.push(position.get().next_multiple_of(BLOCK));
    }
    // Around each block's start, and somewhere in it.
    for cut in (0..tar.len() - BLOCK).filter(|cut| [0, 1, 2, 137, 511].contains(&(cut % BLOCK))) {
        let result = read(&tar[..cut]);
        if ends.contains(&cut) {
            assert!(result.is_ok(), "cut at {cut}: {result:?}");
        } else if cut < tar.len() - 2 * BLOCK {
            assert_eq!(result.expect_err("cut").kind(), ErrorKind::UnexpectedEof, "cut at {cut}");
        }
    }
}

struct Counted<'a> {
    from: &'a [u8],
    position: &'a std::cell::Cell<usize>,
}
impl std::io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.from.read(buffer)?;
        self.position.set(self.position.get() + got);
        Ok(got)
    }
}
#[test]
fn ends() {
    assert_eq!(read(b"").unwrap(), []);
    assert_eq!(read(&[0; 2 * BLOCK]).unwrap(), []);
    assert_eq!(read(&[0; BLOCK]).unwrap(), []);
    let entry = block(b'0', &[]);
    assert_eq!(read(&[&*entry, &[0; BLOCK], b"whatever follows"].concat()).unwrap().len(), 1);
    let tail = [&*entry, &[0; 3 * BLOCK], b"tail"].concat();
    let (rest, trailing) = TarReader::new(&*tail).finish().unwrap();
    assert_eq!((rest, trailing), (&b""[..], 2 * BLOCK as u64 + 4));
    check_error(&[&pax(&[("path", b"p")])], "middle");
    check_error(&[&pax(&[("path", b"p")]), &[0; BLOCK]], "ends after an extended header");
    assert_eq!(read(&[0; 100]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn fields_are_read_as_others_write_them() {
    let entry = |fields: &[(std::ops::Range<usize>, &[u8])]| one(&[&block(b'0', fields)]);
    assert_eq!(entry(&[(MODE, b" 755 \0"), (UID, b"17\0 garb"), (MTIME, b"          7\0")]).unwrap().mode, 0o755);
    assert_eq!(entry(&[(MODE, b"100644\0")]).unwrap().mode, 0o644);
    assert_eq!(entry(&[(UID, b"\x80\0\0\0\x7f\xff\xff\xff")]).unwrap().uid, 0x7fff_ffff);
    assert_eq!(entry(&[(MTIME, &[0xff; 12])]).unwrap().mtime, (-1, 0));
    assert_eq!(entry(&[(MTIME, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xd4")]).unwrap().mtime, (-300, 0));
    // No flag and a slash: a directory of the oldest format.
    assert_eq!(one(&[&block(0, &[(NAME, b"dir/\0")])]).unwrap().kind, EntryKind::Dir);
    assert_eq!(one(&[&block(0, &[])]).unwrap().kind, EntryKind::File);
    assert_eq!(one(&[&block(b'7', &[])]).unwrap().kind, EntryKind::File);
    // Sizes of what has no content are not followed by any.
    assert_eq!(one(&[&block(b'1', &[(SIZE, b"00000000017\0"), (LINK, b"target")])]).unwrap().size, 0);
    for (fields, message) in [
        (&[(SIZE, &b"0000000000x\0"[..])][..], "malformed size"),
        (&[(SIZE, &[0xff; 12])], "negative size"),
        (&[(SIZE, &[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])], "malformed size"),
        (&[(UID, &[0xff; 8])], "uid is out of range"),
        (&[(GID, b"\x80\0\0\x01\0\0\0\0")], "gid is out of range"),
        (&[(UID, b"\x80\0\0\0\xff\xff\xff\xff")], "uid is out of range"),
        (&[(MODE, b"9")], "malformed mode"),
    ] {
        check_error(&[&block(b'0', fields)], message);
    }
    check_error(&[&block(b'M', &[])], "`name` is of the unknown type `M`");
    let mut broken = block(b'0', &[]);
    broken[0] ^= 1;
    check_error(&[&broken], "checksum");
    check_error(&[&[b'A'; BLOCK]], "checksum");
}

#[test]
fn extended_headers_override() {
    let entry = block(b'0', &[(UID, b"0000001\0"), (MTIME, b"00000000007\0")]);
    let with = |records: &[(&str, &[u8])]| one(&[&pax(records), &entry]);
    assert_eq!(with(&[("path", b"a\nb=c")]).unwrap().path.as_os_str(), "a\nb=c");
    assert_eq!(with(&[("path", b"x"), ("path", b"")]).unwrap().path.as_os_str(), "name");
    assert_eq!(with(&[("uid", b"4294967294")]).unwrap().uid, u32::MAX - 1);
    for (text, expect) in [
        ("1.5", (1, 500_000_000)),
        ("-1.25", (-2, 750_000_000)),
        ("-3", (-3, 0)),
        ("0.0000000019", (0, 1)),
        ("-0.5", (-1, 500_000_000)),
        ("12.", (12, 0)),
        ("", (7, 0)),
    ] {
        assert_eq!(with(&[("mtime", text.as_bytes())]).unwrap().mtime, expect, "{text}");
    }
    let xattrs: &[(&str, &[u8])] = &[("SCHILY.xattr.user.z", b"1"), ("SCHILY.xattr.a", b"\n\0="), ("SCHILY.xattr.user.z", b"2")];
    let expect = [(b"a".to_vec(), b"\n\0=".to_vec()), (b"user.z".to_vec(), b"2".to_vec())];
    assert_eq!(with(xattrs).unwrap().xattrs, expect);
    assert_eq!(
        with(&[("comment", b"x"), ("LIBARCHIVE.creationtime", b"y"), ("atime", b"broken")]).unwrap().path.as_os_str(),
        "name"
    );
    let bad: &[&[(&str, &[u8])]] = &[
        &[("path", b"a\0b")],
        &[("uid", b"-1")],
        &[("uid", b"4294967295")],
        &[("gid", b"99999999999999999999")],
        &[("size", b"0x10")],
        &[("mtime", b"1.x")],
        &[("mtime", b"--1")],
        &[("mtime", b".5")],
        &[("mtime", b"9223372036854775808")],
        &[("SCHILY.xattr.", b"")],
    ];
    for records in bad {
        assert_eq!(with(records).unwrap_err().kind(), ErrorKind::InvalidData, "{records:?}");
    }
}

#[test]
fn malformed_records() {
    let entry = block(b'0', &[]);
    for content in [
        &b"x"[..],
        b"5 a=b",
        b"0 a=b\n",
        b"6 a=b\nx",
        b"99 a=b\n",
        b"6 a=bb\n",
        b"5 =b\n",
        b"5 ab\n",
        b"-6 a=b\n",
        b"99999999999999999999999 a=b\n",
        b"18446744073709551615 a=b\n",
        b" a=b\n",
    ] {
        check_error(&[&extended(b'x', content), &entry], "malformed PAX record");
    }
    assert!(one(&[&extended(b'x', b"6 a=b\n"), &entry]).is_ok());
    assert!(one(&[&extended(b'x', b""), &entry]).is_ok());
}

#[test]
fn global_headers_and_gnu_names() {
    let entry = block(b'2', &[(LINK, b"short")]);
    let global = extended(b'g', b"15 path=global\n");
    assert_eq!(one(&[&global, &entry]).unwrap().path.as_os_str(), "name");
    let long = one(&[&extended(b'L', b"long name\0junk"), &extended(b'K', b"long link\0"), &entry]).unwrap();
    assert_eq!((long.path.to_str(), long.link.unwrap().to_str()), (Some("long name"), Some("long link")));
    let both = one(&[&extended(b'L', b"gnu\0"), &pax(&[("path", b"pax")]), &entry]).unwrap();
    assert_eq!(both.path.to_str(), Some("pax"));
    let label = extended(b'V', b"");
    assert_eq!(one(&[&label, &entry]).unwrap().path.as_os_str(), "name");
    check_error(&[&label.repeat(1001), &entry], "too many extended headers");
}

#[test]
fn sizes_are_bounded() {
    let entry = block(b'0', &[]);
    let huge = block(b'x', &[(SIZE, b"77777777777\0")]);
    check_error(&[&huge, &entry], "extended header of 8589934591 bytes");
    let path = vec![b'p'; 4096];
    check_error(&[&extended(b'L', &path), &entry], "path of 4096 bytes");
    check_error(&[&pax(&[("linkpath", &path)]), &block(b'2', &[])], "path of 4096 bytes");
    assert!(one(&[&extended(b'L', &path[..4095]), &entry]).is_ok());
    check_error(&[&pax(&[("size", b"9223372036854775808")]), &entry], "impossible size");
    let endless = one(&[&pax(&[("size", b"9223372036854775807")]), &entry]).unwrap_err();
    assert_eq!(endless.kind(), ErrorKind::UnexpectedEof);
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(at in any::<prop::sample::Index>(), value in any::<u8>(), sealed in any::<bool>()) {
        let mut tar = write(&everything());
        let at = at.index(tar.len());
        tar[at] = value;
        if sealed {
            let start = at / BLOCK * BLOCK;
            let mut block = Block(tar[start..start + BLOCK].try_into().unwrap());
            block.seal();
            tar[start..start + BLOCK].copy_from_slice(&block.0);
        }
        let _read = read(&tar);
    }

    #[test]
    fn any_records_never_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let _read = one(&[&extended(b'x', &content), &block(b'0', &[])]);
    }
}

#[test]
fn a_sparse_map_without_line_ends_is_not_collected() {
    let content = vec![b'1'; 1 << 20];
    let size = format!("{:011o}\0", content.len());
    let header = pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"10")]);
    let tar = [header.clone(), block(b'0', &[(SIZE, size.as_bytes())]), content].concat();
    let position = std::cell::Cell::new(0);
    let error = TarReader::new(Counted { from: &tar, position: &position }).next_entry().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(position.get() <= header.len() + 2 * BLOCK, "read up to {}", position.get());
}
