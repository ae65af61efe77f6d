//! The 512-byte tar header block: where its fields are, and how numbers and text are written in them.
//!
//! ```text
//!   0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8 | 156 type 1
//! 157 link 100 | 257 magic 6 | 263 version 2 | 265 uname 32 | 297 gname 32 | 329 major 8 | 337 minor 8 | 345 prefix 155
//! ```
//!
//! Numbers are octal text, or big-endian two's complement when the first bit is set (GNU). POSIX.1-1988 has the magic `ustar\0` and
//! the version `00`; old GNU has `ustar  \0` and other things in the place of the prefix; star has `tar\0` at 508.

use std::io;
use std::ops::Range;

/// Size of a block; everything in a tar is padded to it.
pub(super) const BLOCK: usize = 512;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
/// star keeps times behind a shorter prefix.
pub(super) const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;

/// A tar that breaks the format's rules.
pub(super) fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// A header block as it was read.
pub(super) struct Block(pub(super) [u8; BLOCK]);

/// Dialects that differ in what the last fields mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Block {
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Whether the checksum is right, by unsigned or (as some old tars sum) signed bytes.
    pub(super) fn checksum_matches(&self) -> bool {
        let Some(written) = parse_octal(&self.0[CHECKSUM]) else { return false };
        let (unsigned, signed) = self.checksums();
        written == unsigned || i64::try_from(written) == Ok(signed)
    }

    fn checksums(&self) -> (u64, i64) {
        let mut sums = (0, 0);
        for (position, byte) in self.0.iter().enumerate() {
            let byte = if CHECKSUM.contains(&position) { b' ' } else { *byte };
            sums.0 += u64::from(byte);
            sums.1 += i64::from(byte.cast_signed());
        }
        sums
    }

    pub(super) fn dialect(&self) -> Dialect {
        let magic = &self.0[MAGIC];
        if magic == b"ustar  \0" {
            Dialect::Gnu
        } else if &magic[..6] != b"ustar\0" {
            Dialect::V7
        } else if &self.0[STAR_TRAILER] == b"tar\0" {
            Dialect::Star
        } else {
            Dialect::Ustar
        }
    }

    /// Text up to the first NUL, or all of the field.
    pub(super) fn text(&self, field: Range<usize>) -> &[u8] {
        let bytes = &self.0[field];
        bytes.iter().position(|byte| *byte == 0).map_or(bytes, |end| &bytes[..end])
    }

    /// The path: prefix and name.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = match self.dialect() {
            Dialect::Ustar => self.text(PREFIX),
            Dialect::Star => self.text(STAR_PREFIX),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        let name = self.text(NAME);
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn number(&self, field: Range<usize>, what: &str) -> io::Result<i64> {
        parse_number(&self.0[field]).ok_or_else(|| invalid(format!("tar header has a malformed {what}")))
    }

    /// Fills the checksum in.
    pub(super) fn seal(&mut self) {
        let (sum, _) = self.checksums();
        self.0[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    /// Octal with leading zeros and a NUL at the end; zero when it does not fit (then a PAX record has it).
    pub(super) fn set_octal(&mut self, field: Range<usize>, value: i64) {
        let value = if fits_octal(field.len(), value) { value } else { 0 };
        let digits = field.len() - 1;
        let text = format!("{value:0digits$o}\0");
        self.0[field].copy_from_slice(text.as_bytes());
    }

    /// As much of the text as fits. A cut that leaves a slash at the end would make old readers take the entry for a directory.
    pub(super) fn set_text(&mut self, field: Range<usize>, text: &[u8]) {
        let place = &mut self.0[field];
        let length = text.len().min(place.len());
        place[..length].copy_from_slice(&text[..length]);
        if text.len() > place.len() {
            while let Some(position) = place.iter().rposition(|byte| *byte != 0).filter(|last| place[*last] == b'/') {
                place[position] = 0;
            }
        }
    }
}

/// Whether a number fits into an octal field of that width, with its NUL.
pub(super) fn fits_octal(width: usize, value: i64) -> bool {
    value >= 0 && (width > 21 || value < 1 << ((width - 1) * 3))
}

pub(super) fn parse_number(field: &[u8]) -> Option<i64> {
    match field.first()? {
        first if first & 0x80 != 0 => parse_binary(field),
        _ => parse_octal(field).and_then(|value| i64::try_from(value).ok()),
    }
}

/// GNU's base 256: the bit after the marker is the sign.
fn parse_binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i64 = if negative { -1 } else { 0 };
    for (position, byte) in field.iter().enumerate() {
        let byte = match (position, negative) {
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
    }
    Some(value)
}

/// Octal digits, padded with spaces and NULs on either side; empty is zero.
fn parse_octal(field: &[u8]) -> Option<u64> {
    let padding = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !padding(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let digits = &digits[..digits.iter().position(padding).unwrap_or(digits.len())];
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
