//! Tests of copying contents.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use super::*;

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn content(mut file: File) -> Vec<u8> {
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}

#[test]
fn copies_all_sizes() {
    for size in [0, 1, 4096, 65_536, 65_537, 1 << 20, (3 << 20) + 5] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let (from, to) = (file(&bytes), file(b""));
        assert_eq!(copy_contents(from.as_fd(), to.as_fd(), u64::from(size)).unwrap(), u64::from(size));
        assert_eq!(content(to), bytes, "{size} bytes");
    }
}

#[test]
fn the_size_bounds_and_the_result_tells() {
    for size in [10u64, 200_000] {
        let bytes = vec![7; usize::try_from(size).unwrap()];
        let from = file(&bytes);
        let (shorter, longer) = (file(b""), file(b""));
        assert_eq!(copy_contents(from.as_fd(), shorter.as_fd(), size - 1).unwrap(), size - 1);
        assert_eq!(copy_contents(from.as_fd(), longer.as_fd(), size + 100_000).unwrap(), size);
        assert_eq!(content(shorter).len() as u64, size - 1);
        assert_eq!(content(longer), bytes);
    }
}

#[test]
fn copies_between_file_systems_and_from_odd_ones() {
    let shared = rustix::fs::memfd_create("to", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let bytes = vec![9; 300_000];
    assert_eq!(copy_contents(file(&bytes).as_fd(), shared.as_fd(), 300_000).unwrap(), 300_000);
    assert_eq!(content(File::from(shared)), bytes);
    let (version, to) = (fs_err::File::open("/proc/version").unwrap(), file(b""));
    let copied = copy_contents(version.file().as_fd(), to.as_fd(), 100_000).unwrap();
    assert!(copied > 0);
    assert_eq!(content(to).len() as u64, copied);
}

#[test]
fn holes_read_as_zeros() {
    let from = tempfile::tempfile().unwrap();
    from.set_len(1 << 20).unwrap();
    let to = file(b"");
    assert_eq!(copy_contents(from.as_fd(), to.as_fd(), 1 << 20).unwrap(), 1 << 20);
    assert_eq!(content(to), vec![0; 1 << 20]);
}
