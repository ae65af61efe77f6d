//! Tests of the archive modules, against GNU tar, Python and tar-core as independent peers.

mod codecs;
mod hostile;
mod peers;
mod sparse;
mod written;

use super::*;

fn header(path: &str, kind: EntryKind) -> Header {
    Header {
        path: path.into(),
        kind,
        link: None,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: (1_700_000_000, 0),
        rdev: (0, 0),
        xattrs: Vec::new(),
    }
}

fn file(path: &str, size: u64) -> Header {
    Header { size, ..header(path, EntryKind::File) }
}

fn linked(path: &str, kind: EntryKind, link: &str) -> Header {
    Header { link: Some(link.into()), ..header(path, kind) }
}

/// A tar whose bodies are all `x`.
fn write(headers: &[Header]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for header in headers {
        writer.append(header, &mut std::io::repeat(b'x')).unwrap();
    }
    writer.finish().unwrap()
}

fn read(tar: &[u8]) -> std::io::Result<Vec<(Header, Vec<u8>)>> {
    let mut reader = TarReader::new(tar);
    let mut entries = Vec::new();
    while let Some(header) = reader.next_entry()? {
        let mut content = Vec::new();
        reader.body().read_to_end(&mut content)?;
        entries.push((header, content));
    }
    Ok(entries)
}

fn headers(tar: &[u8]) -> Vec<Header> {
    read(tar).unwrap().into_iter().map(|(header, _)| header).collect()
}

/// One of every kind, with everything that does not fit into a plain header somewhere.
fn everything() -> Vec<Header> {
    vec![
        file("plain", 5),
        header("dir/", EntryKind::Dir),
        file(&("long/".repeat(30) + "er"), 0),
        file(&format!("{}name", "directory/".repeat(12)), 513),
        file(&"n".repeat(101), 512),
        file("ünïcode", 1),
        linked("link", EntryKind::Symlink, "/target with spaces\nand lines"),
        linked("longlink", EntryKind::Symlink, &"../".repeat(50)),
        linked("hard", EntryKind::HardLink, "plain"),
        linked("hardlong", EntryKind::HardLink, &"n".repeat(101)),
        Header { rdev: (1, 3), ..header("char", EntryKind::CharDevice) },
        Header { rdev: (2_097_151, 7), ..header("block", EntryKind::BlockDevice) },
        header("fifo", EntryKind::Fifo),
        Header { mode: 0o7755, uid: 2_097_151, gid: 2_097_152, ..file("owned", 0) },
        Header { uid: u32::MAX - 1, gid: 1, ..file("bigid", 0) },
        Header { mtime: (-5, 0), ..file("ancient", 0) },
        Header { mtime: (1 << 33, 0), ..file("future", 3) },
        Header { mtime: (0, 0), ..file("epoch", 0) },
        Header {
            xattrs: vec![(b"security.capability".to_vec(), b"\x01\0\n\0=\xff\n".to_vec()), (b"user.empty".to_vec(), Vec::new())],
            ..file("xattrs", 10)
        },
    ]
}
