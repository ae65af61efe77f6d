//! What the writer writes: Go's choices of format, and that the reader gets it back.

use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::archive::header::{BLOCK, CHECKSUM, MAGIC, MAJOR, MODE, MTIME, NAME, PREFIX, SIZE, TYPE};

/// Type and PAX records of each header of a tar with one entry.
fn blocks(header: &Header) -> (Vec<u8>, String) {
    let tar = write(std::slice::from_ref(header));
    let types = vec![tar[TYPE]];
    if tar[TYPE] != b'x' {
        return (types, String::new());
    }
    let size = usize::from_str_radix(std::str::from_utf8(&tar[SIZE][..11]).unwrap(), 8).unwrap();
    let records = String::from_utf8_lossy(&tar[BLOCK..BLOCK + size]).into_owned();
    let main = BLOCK + size.next_multiple_of(BLOCK);
    ([types, vec![tar[main + TYPE]]].concat(), records)
}

fn check(header: Header, types: &[u8], records: &str) {
    assert_eq!(blocks(&header), (types.to_vec(), records.to_owned()), "{header:?}");
}

#[test]
fn everything_comes_back() {
    let mut expect = everything();
    // Whole seconds only, directories with a slash, sizes of files only.
    expect.push(Header { path: "bare".into(), mtime: (7, 999), size: 9, ..header("", EntryKind::Dir) });
    let tar = write(&expect);
    let last = expect.last_mut().unwrap();
    (last.path, last.mtime, last.size) = ("bare/".into(), (7, 0), 0);
    assert_eq!(headers(&tar), expect);
    for (header, content) in read(&tar).unwrap() {
        assert_eq!(content, vec![b'x'; usize::try_from(header.size).unwrap()]);
    }
}

#[test]
fn plain_headers_are_ustar() {
    let tar = write(&[Header { uid: 8, ..file("name", 3) }]);
    assert_eq!(tar.len(), BLOCK * 4);
    assert_eq!(&tar[NAME][..5], b"name\0");
    assert_eq!(&tar[MODE], b"0000644\0");
    assert_eq!(&tar[SIZE], b"00000000003\0");
    assert_eq!(&tar[MTIME], b"14524770400\0");
    assert_eq!(&tar[MAGIC], b"ustar\x0000");
    assert_eq!(&tar[MAJOR], b"0000000\0");
    assert_eq!(tar[265..329], [0; 64], "user and group names are empty");
    let sum: u32 =
        tar[..BLOCK].iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { 32 } else { u32::from(*byte) }).sum();
    assert_eq!(&tar[CHECKSUM], format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(&tar[BLOCK..BLOCK + 4], b"xxx\0");
    assert_eq!(tar[2 * BLOCK..], [0; 2 * BLOCK]);
}

#[test]
fn extended_headers_only_where_needed() {
    check(file(&"n".repeat(100), 0), b"0", "");
    check(file(&"n".repeat(101), 0), b"x0", &format!("111 path={}\n", "n".repeat(101)));
    check(file(&format!("{}/{}", "p".repeat(155), "n".repeat(100)), 0), b"0", "");
    let unsplittable = format!("{}/{}", "p".repeat(156), "n".repeat(99));
    check(file(&unsplittable, 0), b"x0", &format!("266 path={unsplittable}\n"));
    check(file("é", 0), b"x0", "11 path=é\n");
    check(linked("l", EntryKind::Symlink, &"t".repeat(100)), b"2", "");
    check(linked("l", EntryKind::Symlink, &"t".repeat(101)), b"x2", &format!("115 linkpath={}\n", "t".repeat(101)));
    check(Header { uid: 0o7_777_777, gid: 0o10_000_000, ..file("f", 0) }, b"x0", "15 gid=2097152\n");
    check(Header { mtime: (-1, 0), ..file("f", 0) }, b"x0", "12 mtime=-1\n");
    check(Header { mtime: (1 << 33, 0), ..file("f", 0) }, b"x0", "20 mtime=8589934592\n");
    check(Header { mtime: ((1 << 33) - 1, 5), ..file("f", 0) }, b"0", "");
    let xattrs = vec![(b"user.b".to_vec(), b"2".to_vec()), (b"user.a".to_vec(), b"1".to_vec())];
    // Sorted, and the path too where it would have had to be split.
    let path = format!("{}/{}", "p".repeat(50), "n".repeat(60));
    let expect = format!("25 SCHILY.xattr.user.a=1\n25 SCHILY.xattr.user.b=2\n121 path={path}\n");
    check(Header { xattrs, ..file(&path, 0) }, b"x0", &expect);
    // A record's length counts its own digits.
    check(linked(&"n".repeat(90), EntryKind::Symlink, "é"), b"x2", "15 linkpath=é\n");
}

#[test]
fn big_files_have_their_size_in_a_record() {
    let entry = file("big", 0o100_000_000_000);
    let mut writer = TarWriter::new(FirstBytes(Vec::new()));
    // The content does not matter: the headers come first.
    writer.append(&entry, &mut std::io::repeat(0).take(BLOCK as u64)).unwrap_err();
    let start = writer.get_mut().0.clone();
    assert_eq!(&start[BLOCK..BLOCK + 19], b"19 size=8589934592\n");
    assert_eq!(&start[2 * BLOCK..][SIZE], b"00000000000\0");
    assert_eq!(TarReader::new(&*start).next_entry().unwrap(), Some(entry));
}

struct FirstBytes(Vec<u8>);
impl std::io::Write for FirstBytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn extended_headers_are_named_after_their_entry() {
    let name_of = |entry: &Header| {
        let tar = write(std::slice::from_ref(entry));
        String::from_utf8(tar[NAME].iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
    };
    assert_eq!(name_of(&file("é", 0)), "PaxHeaders.0");
    assert_eq!(name_of(&file("dir/éa", 0)), "dir/PaxHeaders.0/a");
    assert_eq!(
        name_of(&header("dir/é", EntryKind::Dir)),
        "dir//PaxHeaders.0",
        "cleaned before what is not ASCII goes, as Go does"
    );
    assert_eq!(name_of(&file("/é/x", 0)), "//PaxHeaders.0/x");
    assert_eq!(name_of(&file(&"n".repeat(101), 0)), format!("PaxHeaders.0/{}", "n".repeat(87)));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let mut writer = TarWriter::new(Vec::new());
    let mut error = |header: &Header| writer.append(header, &mut std::io::empty()).unwrap_err();
    assert_eq!(error(&file("f", 1)).kind(), std::io::ErrorKind::UnexpectedEof);
    error(&file("f", u64::MAX));
    error(&file("a\0b", 0));
    error(&Header { rdev: (0, 1 << 21), ..header("d", EntryKind::CharDevice) });
    error(&Header { xattrs: vec![(b"user.a=b".to_vec(), Vec::new())], ..file("f", 0) });
    error(&Header { xattrs: vec![(b"user.a".to_vec(), vec![0; 1 << 20])], ..file("f", 0) });
}

#[test]
fn only_the_size_is_read_from_the_body() {
    let mut writer = TarWriter::new(Vec::new());
    let mut body = &b"0123456789"[..];
    writer.append(&file("a", 4), &mut body).unwrap();
    writer.append(&header("d", EntryKind::Dir), &mut body).unwrap();
    writer.append(&file("b", 6), &mut body).unwrap();
    let tar = writer.finish().unwrap();
    let contents: Vec<_> = read(&tar).unwrap().into_iter().map(|(_, content)| content).collect();
    assert_eq!(contents, [&b"0123"[..], b"", b"456789"]);
}

#[test]
fn split_paths_read_as_one() {
    for length in 95..=260 {
        for slash in [0, 1, 20, 99, 100, 154, 155, 156, 200] {
            let mut path = "p".repeat(length);
            if slash < length {
                path.replace_range(slash..=slash, "/");
            }
            for entry in [file(&path, 1), header(&format!("{path}/"), EntryKind::Dir)] {
                assert_eq!(headers(&write(std::slice::from_ref(&entry))), [entry]);
            }
        }
    }
    assert_eq!(&write(&[file(&format!("{}/n", "p".repeat(120)), 0)])[PREFIX][..121], format!("{}\0", "p".repeat(120)).as_bytes());
}

pub(super) fn any_header() -> impl Strategy<Value = Header> {
    let kind = prop::sample::select(vec![
        EntryKind::File,
        EntryKind::Symlink,
        EntryKind::HardLink,
        EntryKind::CharDevice,
        EntryKind::BlockDevice,
        EntryKind::Fifo,
    ]);
    let path = "[a-zé./ ]{1,300}";
    let xattrs = prop::collection::btree_map("[a-z]{1,4}\\.[a-z\n]{1,9}", prop::collection::vec(any::<u8>(), 0..40), 0..3);
    (path, kind, path, 0..=0o7777u32, 0..u32::MAX, 0..u32::MAX, 0..2000u64, any::<i64>(), xattrs).prop_map(
        |(path, kind, link, mode, uid, gid, size, seconds, xattrs)| Header {
            path: path.into(),
            kind,
            link: matches!(kind, EntryKind::Symlink | EntryKind::HardLink).then(|| link.into()),
            mode,
            uid,
            gid,
            size: if kind == EntryKind::File { size } else { 0 },
            mtime: (seconds >> 20, 0),
            rdev: if matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) { (mode, 5) } else { (0, 0) },
            xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        },
    )
}

proptest! {
    #[test]
    fn any_header_comes_back(expect in prop::collection::vec(any_header(), 1..5)) {
        prop_assert_eq!(headers(&write(&expect)), expect);
    }
}
