//! Reading a tar stream: V7, ustar, PAX and GNU entries, one at a time.
//!
//! Follows what Go's archive/tar accepts, since that is what every other tool's layers were tested with: global PAX headers say
//! nothing, sizes of entries without content are ignored, a file entry of the oldest kind whose name ends in a slash is a directory.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::header::{BLOCK, Block, GID, LINK, MAJOR, MINOR, MODE, MTIME, SIZE, TYPE, UID, invalid};
use super::pax::Pax;
use super::sparse::{self, Expansion, Step};
use super::{EntryKind, Header};

/// Longest extended header (PAX records, GNU long names) that is read into memory; Go has the same limit.
const MAX_METADATA: u64 = 1 << 20;
/// Longest path or link target; the kernel's PATH_MAX.
const MAX_PATH: usize = 4096;
/// Headers that may precede one entry (global ones, volume labels, extended ones).
const MAX_PREFIX_HEADERS: usize = 1000;

/// Iterates over a tar stream. Hostile input gives errors (`InvalidData`), never a panic, and costs bounded memory; a stream that
/// ends early is an error (`UnexpectedEof`), never an early end.
#[derive(Debug)]
pub struct TarReader<R: Read> {
    from: R,
    body: Body,
    finished: bool,
}

/// What is left of the current entry.
#[derive(Debug, Default)]
struct Body {
    /// Bytes of content in the stream.
    stored: u64,
    padding: u64,
    sparse: Option<Expansion>,
}

impl<R: Read> TarReader<R> {
    /// Reads from `from`, in pieces of 512 bytes and of what the caller asks for: give it a buffered reader.
    pub fn new(from: R) -> TarReader<R> {
        TarReader { from, body: Body::default(), finished: false }
    }

    /// Skips what is left of the previous entry and reads the next header. `None` at the end marker, or where the stream ends
    /// between two entries.
    pub fn next_entry(&mut self) -> io::Result<Option<Header>> {
        if self.finished {
            return Ok(None);
        }
        self.skip_body()?;
        let mut before = Extensions::default();
        for _ in 0..MAX_PREFIX_HEADERS {
            let Some(block) = self.read_header(before.any())? else {
                self.finished = true;
                return Ok(None);
            };
            match block.0[TYPE] {
                b'x' => before.pax = Some(Pax::parse(&self.read_metadata(&block)?)?),
                b'L' => before.long_path = Some(until_nul(self.read_metadata(&block)?)),
                b'K' => before.long_link = Some(until_nul(self.read_metadata(&block)?)),
                // Global records and GNU volume labels are not about any entry.
                b'g' | b'V' => drop(self.read_metadata(&block)?),
                _ => return self.start_entry(&block, before).map(Some),
            }
        }
        Err(invalid("tar has too many extended headers in a row"))
    }

    /// The current entry's content. Ends after `size` bytes; a stream that ends before is an `UnexpectedEof` error.
    pub fn body(&mut self) -> &mut dyn Read {
        self
    }

    /// Reads what follows the end marker up to the end of the stream (padding, by which whole-stream digests are affected) and
    /// returns the reader and how many bytes there were. What is left of an entry is skipped first.
    pub fn finish(mut self) -> io::Result<(R, u64)> {
        while self.next_entry()?.is_some() {}
        let trailing = io::copy(&mut self.from, &mut io::sink())?;
        Ok((self.from, trailing))
    }

    fn skip_body(&mut self) -> io::Result<()> {
        let left = self.body.stored + self.body.padding;
        self.body = Body::default();
        if left == 0 {
            return Ok(());
        }
        let skipped = io::copy(&mut (&mut self.from).take(left), &mut io::sink())?;
        if skipped < left { Err(ends_early()) } else { Ok(()) }
    }

    /// The next header block with a right checksum; `None` at the end. `pending`: extended headers wait for their entry.
    fn read_header(&mut self, pending: bool) -> io::Result<Option<Block>> {
        let mut block = Block([0; BLOCK]);
        let read = read_full(&mut self.from, &mut block.0)?;
        if read == 0 && !pending {
            return Ok(None);
        }
        if read < BLOCK {
            return Err(ends_early());
        }
        if block.is_zero() {
            return if pending { Err(invalid("tar ends after an extended header")) } else { Ok(None) };
        }
        if !block.checksum_matches() {
            return Err(invalid("tar header has a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn read_metadata(&mut self, block: &Block) -> io::Result<Vec<u8>> {
        let size = size_of_content(block)?;
        if size > MAX_METADATA {
            return Err(invalid(format!("tar has an extended header of {size} bytes, more than {MAX_METADATA}")));
        }
        let mut metadata = Vec::new();
        (&mut self.from).take(size).read_to_end(&mut metadata)?;
        if (metadata.len() as u64) < size {
            return Err(ends_early());
        }
        self.body = Body { stored: 0, padding: padding(size), sparse: None };
        self.skip_body()?;
        Ok(metadata)
    }

    fn start_entry(&mut self, block: &Block, before: Extensions) -> io::Result<Header> {
        let (mut header, pax) = before.resolve(block)?;
        let stored = header.size;
        self.body = Body { stored, padding: padding(stored), sparse: None };
        if header.kind == EntryKind::File {
            self.body.sparse = self.read_sparse_map(block, &pax, stored)?;
        }
        if let Some(sparse) = &self.body.sparse {
            header.size = sparse.size();
            if let Some(name) = pax.sparse(b"name") {
                header.path = bounded_path(name.to_vec())?;
            }
        }
        Ok(header)
    }

    fn read_sparse_map(&mut self, block: &Block, pax: &Pax, stored: u64) -> io::Result<Option<Expansion>> {
        if block.0[TYPE] == b'S' {
            return sparse::old_gnu(block, stored, &mut self.from).map(Some);
        }
        if !sparse::is_pax(pax) {
            return Ok(None);
        }
        let (map, used) = sparse::pax(pax, stored, &mut self.from)?;
        self.body.stored -= used;
        Ok(Some(map))
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Content of the current entry, holes as zeros.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = match self.body.sparse.as_ref().map(Expansion::step) {
            None => self.body.stored,
            Some(Step::Content(bytes)) => bytes,
            Some(Step::Zeros(bytes)) => return Ok(self.read_zeros(bytes, buffer)),
        };
        let want = usize::try_from(limit).map_or(buffer.len(), |left| left.min(buffer.len()));
        if want == 0 {
            return Ok(0);
        }
        let got = self.from.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(ends_early());
        }
        self.body.stored -= got as u64;
        if let Some(sparse) = &mut self.body.sparse {
            sparse.advance(got as u64);
        }
        Ok(got)
    }
}

impl<R: Read> TarReader<R> {
    fn read_zeros(&mut self, bytes: u64, buffer: &mut [u8]) -> usize {
        let length = usize::try_from(bytes).map_or(buffer.len(), |bytes| bytes.min(buffer.len()));
        buffer[..length].fill(0);
        if let Some(sparse) = &mut self.body.sparse {
            sparse.advance(length as u64);
        }
        length
    }
}

/// What came before an entry's own header.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Extensions {
    fn any(&self) -> bool {
        let Extensions { pax, long_path, long_link } = self;
        pax.is_some() || long_path.is_some() || long_link.is_some()
    }

    /// PAX before GNU before the block's own fields.
    fn resolve(self, block: &Block) -> io::Result<(Header, Pax)> {
        let mut pax = self.pax.unwrap_or_default();
        let path = pax.path.take().or(self.long_path).unwrap_or_else(|| block.path());
        let kind = kind_of(block.0[TYPE], &path)?;
        let size = match (kind == EntryKind::File, pax.size) {
            (true, Some(size)) => size,
            (true, None) => size_of_content(block)?,
            (false, _) => 0,
        };
        if size > i64::MAX as u64 {
            return Err(invalid("tar has an entry of an impossible size"));
        }
        let link = matches!(kind, EntryKind::Symlink | EntryKind::HardLink)
            .then(|| pax.link.take().or(self.long_link).unwrap_or_else(|| block.text(LINK).to_vec()));
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let header = Header {
            path: bounded_path(path)?,
            kind,
            link: link.map(bounded_path).transpose()?,
            mode: mode(block)?,
            uid: id(pax.uid, block, UID, "uid")?,
            gid: id(pax.gid, block, GID, "gid")?,
            size,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => (block.number(MTIME, "mtime")?, 0),
            },
            rdev: if is_device { (device(block, MAJOR)?, device(block, MINOR)?) } else { (0, 0) },
            xattrs: std::mem::take(&mut pax.xattrs),
        };
        Ok((header, pax))
    }
}

fn kind_of(flag: u8, path: &[u8]) -> io::Result<EntryKind> {
    Ok(match flag {
        0 if path.ends_with(b"/") => EntryKind::Dir,
        // A contiguous file, and a sparse one.
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Dir,
        b'6' => EntryKind::Fifo,
        other => {
            let (kind, path) = (other.escape_ascii(), path.escape_ascii());
            return Err(invalid(format!("tar entry `{path}` is of the unknown type `{kind}`")));
        }
    })
}

fn size_of_content(block: &Block) -> io::Result<u64> {
    u64::try_from(block.number(SIZE, "size")?).map_err(|_negative| invalid("tar has an entry of a negative size"))
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn mode(block: &Block) -> io::Result<u32> {
    let mode = block.number(MODE, "mode")? & 0o7777;
    Ok(u32::try_from(mode).expect("twelve bits"))
}

fn id(pax: Option<u64>, block: &Block, field: std::ops::Range<usize>, what: &str) -> io::Result<u32> {
    let id = match pax {
        Some(id) => u32::try_from(id).ok(),
        None => u32::try_from(block.number(field, what)?).ok(),
    };
    // The last one means "nobody" to the kernel's chown.
    id.filter(|id| *id != u32::MAX).ok_or_else(|| invalid(format!("tar has an entry whose {what} is out of range")))
}

fn device(block: &Block, field: std::ops::Range<usize>) -> io::Result<u32> {
    u32::try_from(block.number(field, "device number")?).map_err(|_range| invalid("tar has a device number out of range"))
}

fn bounded_path(path: Vec<u8>) -> io::Result<PathBuf> {
    if path.len() >= MAX_PATH {
        return Err(invalid(format!("tar has a path of {} bytes, more than {}", path.len(), MAX_PATH - 1)));
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "tar ends in the middle of an entry")
}
