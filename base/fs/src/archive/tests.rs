//! Tests of the archive modules.

use std::io::Read;

use super::*;

fn file(path: &str, size: u64) -> Header {
    Header {
        path: path.into(),
        kind: EntryKind::File,
        link: None,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: (1_700_000_000, 0),
        rdev: (0, 0),
        xattrs: Vec::new(),
    }
}

#[test]
fn a_tar_comes_back() {
    let mut headers = vec![file("plain", 5), file(&"x/".repeat(70), 0), file(&"ü".repeat(80), 1000)];
    headers[1].kind = EntryKind::Dir;
    headers[2].mtime = (-5, 0);
    headers[2].xattrs = vec![(b"security.capability".to_vec(), b"a\n\0b".to_vec())];
    let mut writer = TarWriter::new(Vec::new());
    for header in &headers {
        writer.append(header, &mut std::io::repeat(b'x')).unwrap();
    }
    let tar = writer.finish().unwrap();
    let mut reader = TarReader::new(&*tar);
    for header in &headers {
        assert_eq!(reader.next_entry().unwrap().as_ref(), Some(header));
        let mut content = Vec::new();
        reader.body().read_to_end(&mut content).unwrap();
        assert_eq!(content.len() as u64, header.size);
    }
    assert_eq!(reader.next_entry().unwrap(), None);
}
