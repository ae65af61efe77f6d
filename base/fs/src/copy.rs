//! Copying the bytes of one open file to another as cheaply as the file systems allow.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{copy_file_range, ftruncate, ioctl_ficlone};
use rustix::io::{Errno, pread, pwrite};

use crate::Stat;

/// Up to this size one read and one write beat every other way.
const SMALL: u64 = 64 * 1024;
/// One copy_file_range; bounded so that a signal or a full disk shows up in time.
const CHUNK: usize = 64 << 20;
/// Buffer for reading and writing.
const BUFFER: usize = 256 * 1024;

/// Copies the first `size` bytes of `from` to the start of the empty file `to`: reflink, else copy_file_range, else read and write.
/// Both positions are left alone. Returns what was copied, less than `size` when `from` is shorter than its caller thought.
/// Holes need not survive.
pub fn copy_contents(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> io::Result<u64> {
    if size <= SMALL {
        return copy_by_buffer(from, to, 0, size);
    }
    if ioctl_ficlone(to, from).is_ok() {
        let cloned = Stat::of(to)?.size;
        if cloned > size {
            ftruncate(to, size)?;
        }
        return Ok(cloned.min(size));
    }
    let copied = copy_by_range(from, to, size)?;
    // Nothing is known from a short copy: some file systems (procfs, old fuse) answer 0 where there is content.
    copy_by_buffer(from, to, copied, size)
}

/// How far copy_file_range gets; it may not work at all between these two.
fn copy_by_range(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> io::Result<u64> {
    let (mut read, mut written) = (0, 0);
    while written < size {
        let chunk = usize::try_from(size - written).map_or(CHUNK, |left| left.min(CHUNK));
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), chunk) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => (),
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::BADF | Errno::IO) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

/// Copies from offset `start` up to `size`; returns where it ended.
fn copy_by_buffer(from: BorrowedFd<'_>, to: BorrowedFd<'_>, start: u64, size: u64) -> io::Result<u64> {
    let mut offset = start;
    if offset >= size {
        return Ok(offset);
    }
    let mut buffer = vec![0; usize::try_from(size - offset).map_or(BUFFER, |left| left.min(BUFFER))];
    while offset < size {
        let want = usize::try_from(size - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
        let got = match pread(from, &mut buffer[..want], offset) {
            Ok(0) => break,
            Ok(got) => got,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        write_all_at(to, &buffer[..got], offset)?;
        offset += got as u64;
    }
    Ok(offset)
}

fn write_all_at(to: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match pwrite(to, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
