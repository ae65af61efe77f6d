//! Sparse files as GNU tar writes them, and as nobody should.

use std::io::{Seek, SeekFrom, Write};

use fs_err as fs;

use super::peers::run;
use super::*;

/// A file with holes at the start, between pieces and at the end.
fn sparse_file(path: &std::path::Path, pieces: u64) {
    let mut file = fs::File::create(path).unwrap();
    for piece in 0..pieces {
        file.seek(SeekFrom::Start(64 * 1024 * (2 * piece + 1))).unwrap();
        file.write_all(format!("piece {piece}").as_bytes()).unwrap();
    }
    file.set_len(64 * 1024 * (2 * pieces + 3)).unwrap();
}

#[test]
fn gnu_tars_formats_expand() {
    let dir = tempfile::tempdir().unwrap();
    for pieces in [0, 1, 3, 60] {
        sparse_file(&dir.path().join("sparse"), pieces);
        fs::write(dir.path().join("after"), "plain").unwrap();
        let expect = fs::read(dir.path().join("sparse")).unwrap();
        for format in [
            &["--format=gnu"][..],
            &["--format=posix", "--sparse-version=0.0"],
            &["--format=posix", "--sparse-version=0.1"],
            &["--format=posix", "--sparse-version=1.0"],
        ] {
            let tar = run("tar", &[&["-c", "-S", "-f", "-"], format, &["sparse", "after"]].concat(), dir.path(), b"");
            assert!(tar.len() < expect.len(), "it is stored with holes");
            let entries = read(&tar).unwrap();
            assert_eq!(entries[0].0.path.to_str(), Some("sparse"), "{format:?}");
            assert_eq!(entries[0].0.size, expect.len() as u64);
            assert!(entries[0].1 == expect, "{pieces} pieces in {format:?}");
            assert_eq!(entries[1].1, b"plain");
            // Skipped instead of read.
            let mut reader = TarReader::new(&*tar);
            reader.next_entry().unwrap();
            assert_eq!(reader.next_entry().unwrap().unwrap().path.to_str(), Some("after"));
        }
    }
}

#[test]
fn cut_and_changed_maps_are_errors_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    sparse_file(&dir.path().join("sparse"), 25);
    for format in ["--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0", "--format=gnu"] {
        let format = if format.contains("gnu") { vec![format] } else { vec!["--format=posix", format] };
        let tar = run("tar", &[&["-c", "-S", "-f", "-"], &*format, &["sparse"]].concat(), dir.path(), b"");
        let content = tar.len() - 10_240;
        for cut in (1..content.max(2048)).step_by(97) {
            assert!(read(&tar[..cut]).is_err(), "cut at {cut} of {format:?}");
        }
        for at in 0..4096 {
            let mut changed = tar.clone();
            changed[at] ^= 5;
            let start = at / 512 * 512;
            let mut block = crate::archive::header::Block(changed[start..start + 512].try_into().unwrap());
            block.seal();
            changed[start..start + 512].copy_from_slice(&block.0);
            // No more than the header: a changed size may be large, but is bounded.
            if let Ok(Some(header)) = TarReader::new(&*changed).next_entry() {
                assert!(header.size <= 64 << 30);
            }
        }
    }
}
