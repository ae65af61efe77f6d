//! Sparse files of GNU tar, read as if they had been stored with their holes: the four ways in which their maps are written.
//!
//! Old GNU: type `S`, four pairs at 386 of the header, more in extension blocks of 21 pairs. PAX 0.0: repeated `GNU.sparse.offset` and
//! `.numbytes`. PAX 0.1: `GNU.sparse.map`. PAX 1.0: decimal lines in front of the content, padded to a block.

use std::io::{self, Read};

use super::header::{BLOCK, Block, Dialect, invalid, parse_number};
use super::pax::{Pax, digits};

/// Most bytes that a sparse file may expand to. Holes cost an archive nothing, but the disk that they are written to.
const MAX_EXPANDED: u64 = 64 << 30;
/// Most pieces of content in a file.
const MAX_PIECES: usize = 65_536;
/// Digits of the largest number of 64 bits.
const LONGEST_LINE: usize = 20;

const OLD_PAIRS: usize = 386;
const OLD_MORE: usize = 482;
const OLD_REAL_SIZE: std::ops::Range<usize> = 483..495;
const EXTENSION_PAIRS: usize = 21;
const PAIR: usize = 24;

/// Where the stored pieces belong, and how far reading has come.
#[derive(Debug)]
pub(super) struct Expansion {
    /// (offset, length), ascending, none empty.
    pieces: Vec<(u64, u64)>,
    size: u64,
    next: usize,
    position: u64,
}

/// What comes at the current position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Zeros(u64),
    Content(u64),
}

impl Expansion {
    /// `stored`: bytes of content in the archive, which the pieces must add up to.
    fn new(mut pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> io::Result<Expansion> {
        pieces.retain(|(_, length)| *length > 0);
        let mut end = 0u64;
        let mut total = 0u64;
        for (offset, length) in &pieces {
            let after = offset.checked_add(*length).filter(|_| *offset >= end);
            end = after.ok_or_else(|| invalid("tar has a sparse file whose pieces overlap"))?;
            total += length;
        }
        if end > size || total != stored {
            return Err(invalid("tar has a sparse file whose map does not fit its size"));
        }
        if size > MAX_EXPANDED {
            return Err(invalid(format!("tar has a sparse file of {size} bytes, more than {MAX_EXPANDED}")));
        }
        Ok(Expansion { pieces, size, next: 0, position: 0 })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// At the end, zero bytes of content.
    pub(super) fn step(&self) -> Step {
        match self.pieces.get(self.next) {
            Some((offset, _)) if self.position < *offset => Step::Zeros(offset - self.position),
            Some((offset, length)) => Step::Content(offset + length - self.position),
            None if self.position < self.size => Step::Zeros(self.size - self.position),
            None => Step::Content(0),
        }
    }

    /// At most what `step` said.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.position += bytes;
        if self.pieces.get(self.next).is_some_and(|(offset, length)| self.position == offset + length) {
            self.next += 1;
        }
    }
}

/// Reads the map of an entry of type `S`, whose extension blocks follow its header in `from`.
pub(super) fn old_gnu(block: &Block, stored: u64, from: &mut impl Read) -> io::Result<Expansion> {
    if block.dialect() != Dialect::Gnu {
        return Err(invalid("tar has a sparse file outside of GNU's format"));
    }
    let mut pieces = Vec::new();
    pairs(&block.0[OLD_PAIRS..OLD_MORE], &mut pieces)?;
    let mut more = block.0[OLD_MORE] != 0;
    while more {
        let mut extension = [0; BLOCK];
        from.read_exact(&mut extension)?;
        pairs(&extension[..EXTENSION_PAIRS * PAIR], &mut pieces)?;
        more = extension[EXTENSION_PAIRS * PAIR] != 0;
        bounded(pieces.len())?;
    }
    Expansion::new(pieces, unsigned(&block.0[OLD_REAL_SIZE])?, stored)
}

fn pairs(bytes: &[u8], pieces: &mut Vec<(u64, u64)>) -> io::Result<()> {
    for pair in bytes.chunks_exact(PAIR).take_while(|pair| pair[0] != 0) {
        pieces.push((unsigned(&pair[..PAIR / 2])?, unsigned(&pair[PAIR / 2..])?));
    }
    Ok(())
}

fn unsigned(field: &[u8]) -> io::Result<u64> {
    parse_number(field).and_then(|number| u64::try_from(number).ok()).ok_or_else(malformed)
}

/// Whether PAX records say that the entry is a sparse file.
pub(super) fn is_pax(pax: &Pax) -> bool {
    [&b"major"[..], b"map", b"size", b"realsize"].iter().any(|key| pax.sparse(key).is_some())
}

/// Reads the map of an entry with `GNU.sparse.*` records; that of version 1.0 is taken from `from`, the content, of which the
/// number of bytes used is returned too.
pub(super) fn pax(pax: &Pax, stored: u64, from: &mut impl Read) -> io::Result<(Expansion, u64)> {
    let number = |key: &[u8]| pax.sparse(key).and_then(digits);
    match (number(b"major"), number(b"minor")) {
        (Some(1), Some(0)) => {
            let size = number(b"realsize").ok_or_else(malformed)?;
            let (pieces, used) = read_lines(stored, from)?;
            Ok((Expansion::new(pieces, size, stored - used)?, used))
        }
        (None | Some(0), _) => {
            let numbers = match pax.sparse(b"map") {
                Some(map) => {
                    map.split(|byte| *byte == b',').filter(|part| !part.is_empty()).map(digits).collect::<Option<Vec<_>>>()
                }
                None => pieces_of_0_0(pax),
            };
            let pieces = pair_up(&numbers.ok_or_else(malformed)?)?;
            let size = number(b"size").or_else(|| number(b"realsize")).ok_or_else(malformed)?;
            Ok((Expansion::new(pieces, size, stored)?, 0))
        }
        (Some(_), _) => Err(invalid("tar has a sparse file of an unknown version")),
    }
}

fn pieces_of_0_0(pax: &Pax) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    for (key, value) in &pax.sparse {
        // Alternating; a pair out of turn would be told from its place.
        let wanted: &[u8] = if numbers.len().is_multiple_of(2) { b"offset" } else { b"numbytes" };
        match &**key {
            b"offset" | b"numbytes" if key == wanted => numbers.push(digits(value)?),
            b"offset" | b"numbytes" => return None,
            _ => (),
        }
    }
    Some(numbers)
}

/// The number of pieces, then their offsets and lengths, each on a line; padded to whole blocks.
fn read_lines(stored: u64, from: &mut impl Read) -> io::Result<(Vec<(u64, u64)>, u64)> {
    let (mut numbers, mut line, mut used) = (Vec::new(), Vec::new(), 0u64);
    loop {
        let mut block = [0; BLOCK];
        used += BLOCK as u64;
        if used > stored {
            return Err(malformed());
        }
        from.read_exact(&mut block)?;
        for byte in block {
            if byte != b'\n' {
                if line.len() == LONGEST_LINE {
                    return Err(malformed());
                }
                line.push(byte);
                continue;
            }
            numbers.push(digits(&line).ok_or_else(malformed)?);
            line.clear();
            let count = usize::try_from(numbers[0]).map_err(|_big| malformed())?;
            bounded(count)?;
            if numbers.len() == 1 + 2 * count {
                return Ok((pair_up(&numbers[1..])?, used));
            }
        }
    }
}

fn pair_up(numbers: &[u64]) -> io::Result<Vec<(u64, u64)>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    bounded(pairs.len())?;
    if rest.is_empty() { Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect()) } else { Err(malformed()) }
}

fn bounded(pieces: usize) -> io::Result<()> {
    if pieces > MAX_PIECES { Err(invalid("tar has a sparse file of too many pieces")) } else { Ok(()) }
}

fn malformed() -> io::Error {
    invalid("tar has a malformed map of a sparse file")
}
