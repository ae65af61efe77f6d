//! Writing canonical tars, byte for byte as Go's archive/tar does for entries of its PAX format with whole seconds.
//!
//! Plain ustar where all fits (a long ASCII path is split at a slash into prefix and name); else an extended header
//! `DIR/PaxHeaders.0/FILE` with sorted records of what does not fit comes first. User and group names are empty.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use super::header::{
    BLOCK, Block, GID, LINK, MAGIC, MAJOR, MINOR, MODE, MTIME, NAME, PREFIX, SIZE, TYPE, UID, fits_octal, invalid,
};
use super::pax::{XATTR, write_record};
use super::{EntryKind, Header};

/// Largest extended header; readers (Go's among them) refuse more.
const MAX_METADATA: usize = 1 << 20;

/// Writes a canonical tar. The bytes depend on the headers and bodies alone.
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    to: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `to`, in pieces of 512 bytes to 64 KiB.
    pub fn new(to: W) -> TarWriter<W> {
        TarWriter { to, buffer: Vec::new() }
    }

    /// Writes one entry. `body` must give at least `header.size` bytes for a file (`UnexpectedEof`), of which that many are taken;
    /// for other kinds it is not read and their size is written as 0. The path is written as it is, with a slash added to a directory's.
    pub fn append(&mut self, header: &Header, body: &mut dyn Read) -> io::Result<()> {
        let size = if header.kind == EntryKind::File { header.size } else { 0 };
        let entry = Entry::new(header, size)?;
        entry.write(&mut self.to)?;
        self.copy_body(body, size)
    }

    /// Two zero blocks.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        Ok(self.to)
    }

    /// The stream that is written to, between entries.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.to
    }

    fn copy_body(&mut self, body: &mut dyn Read, size: u64) -> io::Result<()> {
        let mut left = size;
        if left > 0 {
            self.buffer.resize(64 * 1024, 0);
        }
        while left > 0 {
            let want = usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            let got = match body.read(&mut self.buffer[..want]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "content is shorter than its tar header says")),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.to.write_all(&self.buffer[..got])?;
            left -= got as u64;
        }
        pad(&mut self.to, size)
    }
}

/// An entry with the choice between the formats made.
struct Entry<'a> {
    header: &'a Header,
    size: i64,
    name: Vec<u8>,
    link: &'a [u8],
    /// Prefix and name, when a plain ustar header says all.
    ustar: Option<(Vec<u8>, Vec<u8>)>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<'a> Entry<'a> {
    fn new(header: &'a Header, size: u64) -> io::Result<Entry<'a>> {
        let mut name = header.path.as_os_str().as_bytes().to_vec();
        if header.kind == EntryKind::Dir && !name.ends_with(b"/") {
            name.push(b'/');
        }
        let link = header.link.as_deref().map_or(&b""[..], |link| link.as_os_str().as_bytes());
        if name.contains(&0) || link.contains(&0) {
            return Err(invalid("a path with a NUL byte cannot be written to a tar"));
        }
        let size = i64::try_from(size).map_err(|_too_big| invalid("a file is too big for a tar"))?;
        let mut entry = Entry { header, size, name, link, ustar: None, pax: BTreeMap::new() };
        entry.choose()?;
        Ok(entry)
    }

    /// Go's rule: a record for whatever does not fit plainly; they are dropped if the only reason was a path that can be split.
    fn choose(&mut self) -> io::Result<()> {
        let header = self.header;
        let mut ustar = true;
        let mut prefix = (Vec::new(), self.name.clone());
        if !self.name.is_ascii() || self.name.len() > NAME.len() {
            match split_path(&self.name) {
                Some((first, last)) => prefix = (first.to_vec(), last.to_vec()),
                None => ustar = false,
            }
            self.pax.insert(b"path".to_vec(), self.name.clone());
        }
        if !self.link.is_ascii() || self.link.len() > LINK.len() {
            ustar = false;
            self.pax.insert(b"linkpath".to_vec(), self.link.to_vec());
        }
        let numbers = [
            (&b"uid"[..], UID.len(), i64::from(header.uid)),
            (b"gid", GID.len(), i64::from(header.gid)),
            (b"size", SIZE.len(), self.size),
            (b"mtime", MTIME.len(), header.mtime.0),
        ];
        for (key, width, value) in numbers {
            if !fits_octal(width, value) {
                ustar = false;
                self.pax.insert(key.to_vec(), value.to_string().into_bytes());
            }
        }
        if !fits_octal(MAJOR.len(), i64::from(header.rdev.0)) || !fits_octal(MINOR.len(), i64::from(header.rdev.1)) {
            return Err(invalid("a device number is too big for a tar"));
        }
        for (name, value) in &header.xattrs {
            if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
                return Err(invalid(format!("extended attribute `{}` cannot be written to a tar", name.escape_ascii())));
            }
            ustar = false;
            self.pax.insert([XATTR, name].concat(), value.clone());
        }
        self.ustar = ustar.then_some(prefix);
        Ok(())
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        if let Some((prefix, name)) = &self.ustar {
            let mut block = self.block(name, self.link);
            block.set_text(PREFIX, prefix);
            block.seal();
            return to.write_all(&block.0);
        }
        self.write_extended(to)?;
        let mut block = self.block(&ascii(&self.name), &ascii(self.link));
        block.seal();
        to.write_all(&block.0)
    }

    fn write_extended(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut records = Vec::new();
        for (key, value) in &self.pax {
            write_record(&mut records, key, value);
        }
        if records.len() > MAX_METADATA {
            return Err(invalid(format!("`{}` has too much metadata for a tar", self.name.escape_ascii())));
        }
        let mut name = ascii(&extended_name(&self.name));
        name.truncate(NAME.len());
        while name.ends_with(b"/") {
            name.pop();
        }
        let mut block = empty_block(b'x');
        block.set_text(NAME, &name);
        for field in [MODE, UID, GID, MTIME] {
            block.set_octal(field, 0);
        }
        block.set_octal(SIZE, i64::try_from(records.len()).expect("below the limit"));
        block.seal();
        to.write_all(&block.0)?;
        to.write_all(&records)?;
        pad(to, records.len() as u64)
    }

    fn block(&self, name: &[u8], link: &[u8]) -> Block {
        let Header { path: _, kind, link: _, mode, uid, gid, size: _, mtime, rdev, xattrs: _ } = self.header;
        let mut block = empty_block(type_flag(*kind));
        block.set_text(NAME, name);
        block.set_text(LINK, link);
        block.set_octal(MODE, i64::from(mode & 0o7777));
        block.set_octal(UID, i64::from(*uid));
        block.set_octal(GID, i64::from(*gid));
        block.set_octal(SIZE, self.size);
        block.set_octal(MTIME, mtime.0);
        block.set_octal(MAJOR, i64::from(rdev.0));
        block.set_octal(MINOR, i64::from(rdev.1));
        block
    }
}

fn empty_block(flag: u8) -> Block {
    let mut block = Block([0; BLOCK]);
    block.0[TYPE] = flag;
    block.0[MAGIC].copy_from_slice(b"ustar\x0000");
    block
}

fn type_flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Dir => b'5',
        EntryKind::Fifo => b'6',
    }
}

/// Splits a long ASCII path at its last slash that leaves at most 155 bytes before and 1 to 100 after it.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME.len() || !path.is_ascii() {
        return None;
    }
    let window = if path.len() > PREFIX.len() + 1 { PREFIX.len() + 1 } else { path.len() - usize::from(path.ends_with(b"/")) };
    let slash = path[..window].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && prefix.len() <= PREFIX.len() && !name.is_empty() && name.len() <= NAME.len()).then_some((prefix, name))
}

/// `a/b` → `a/PaxHeaders.0/b`, cleaned: a directory's own name stays in front.
fn extended_name(path: &[u8]) -> Vec<u8> {
    let slash = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (dir, file) = path.split_at(slash);
    let mut clean: Vec<&[u8]> = Vec::new();
    for part in dir.split(|byte| *byte == b'/').chain([&b"PaxHeaders.0"[..], file]) {
        match part {
            b"" | b"." => (),
            b".." if clean.last().is_some_and(|last| *last != b"..") => drop(clean.pop()),
            b".." if path.starts_with(b"/") => (),
            part => clean.push(part),
        }
    }
    let joined = clean.join(&b'/');
    if path.starts_with(b"/") { [b"/", &*joined].concat() } else { joined }
}

/// The path without what an old reader could not show.
fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).collect()
}

fn pad(to: &mut dyn Write, size: u64) -> io::Result<()> {
    let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).expect("less than a block");
    to.write_all(&[0; BLOCK][..padding])
}
