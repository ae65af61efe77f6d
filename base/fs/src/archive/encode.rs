//! Compression whose bytes are a function of the input, the codec and its level alone: neither of the number of threads nor of how
//! the input was cut into writes.
//!
//! gzip: each MiB of input becomes one gzip member, compressed by libdeflate as a finite rayon job. The thread that writes waits for
//! the oldest job and writes its bytes in order; a bounded number is in flight. A caller that is itself a rayon job compresses on the
//! spot, since waiting there could wait for itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};

use crossbeam_channel::Receiver;
use libdeflater::{CompressionLvl, Compressor};

/// Input of one gzip member. Part of the format version of layers: another size gives other bytes.
const BLOCK: usize = 1 << 20;

/// How to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip by libdeflate.
    Gzip {
        /// 0 (stored) to 12.
        level: u8,
    },
    /// zstd.
    Zstd {
        /// -131072 to 22; 0 means 3.
        level: i32,
    },
}

/// Compresses what is written to it.
pub trait Encoder: Write {
    /// Compresses and writes what is left. Without it the output is incomplete.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// An encoder that writes to `out`. `InvalidInput` for a level that the codec does not have. Empty input gives a valid empty stream.
pub fn encoder<'a>(codec: Codec, out: Box<dyn Write + Send + 'a>) -> io::Result<Box<dyn Encoder + Send + 'a>> {
    match codec {
        Codec::None => Ok(Box::new(Plain { out })),
        Codec::Gzip { level } => Ok(Box::new(Gzip::new(level, out)?)),
        Codec::Zstd { level } => Ok(Box::new(Zstd::new(level, out)?)),
    }
}

fn bad_level(level: impl std::fmt::Display, codec: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{codec} has no compression level `{level}`"))
}

struct Plain<'a> {
    out: Box<dyn Write + Send + 'a>,
}

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Encoder for Plain<'_> {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

struct Zstd<'a> {
    encoder: zstd::stream::write::Encoder<'static, Box<dyn Write + Send + 'a>>,
}

impl<'a> Zstd<'a> {
    fn new(level: i32, out: Box<dyn Write + Send + 'a>) -> io::Result<Zstd<'a>> {
        if !zstd::compression_level_range().contains(&level) {
            return Err(bad_level(level, "zstd"));
        }
        let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
        // Any number of workers gives the same bytes, but none gives others.
        let workers = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(8));
        encoder.multithread(u32::try_from(workers).expect("at most 8"))?;
        encoder.include_checksum(true)?;
        Ok(Zstd { encoder })
    }
}

impl Write for Zstd<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write(bytes)
    }
    /// Does not flush: a flush would show in the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encoder for Zstd<'_> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.encoder.finish()?.flush()
    }
}

/// A job's result; the sender never waits, since the channel has room for it.
type Pending = Receiver<Member>;

/// One compressed member, and the input's buffer to be used again.
struct Member {
    compressed: io::Result<Vec<u8>>,
    input: Vec<u8>,
}

struct Gzip<'a> {
    out: Box<dyn Write + Send + 'a>,
    level: u8,
    block: Vec<u8>,
    in_flight: VecDeque<Pending>,
    most_in_flight: usize,
    spare: Vec<Vec<u8>>,
    any: bool,
}

impl<'a> Gzip<'a> {
    fn new(level: u8, out: Box<dyn Write + Send + 'a>) -> io::Result<Gzip<'a>> {
        if level > 12 {
            return Err(bad_level(level, "gzip"));
        }
        let most_in_flight = rayon::current_num_threads() + 2;
        Ok(Gzip { out, level, block: Vec::new(), in_flight: VecDeque::new(), most_in_flight, spare: Vec::new(), any: false })
    }

    /// Hands the block in hand to a job, having made room for it.
    fn submit(&mut self) -> io::Result<()> {
        self.any = true;
        let input = std::mem::replace(&mut self.block, self.spare.pop().unwrap_or_default());
        let level = self.level;
        if rayon::current_thread_index().is_some() {
            return self.write_member(compress(input, level));
        }
        while self.in_flight.len() >= self.most_in_flight {
            self.write_oldest()?;
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        rayon::spawn(move || {
            // The receiver is gone when the encoder was dropped; then nobody wants the bytes.
            sender.send(compress(input, level)).ok();
        });
        self.in_flight.push_back(receiver);
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.in_flight.pop_front() else { return Ok(()) };
        let member = oldest.recv().map_err(|_job_died| io::Error::other("a compression job died"))?;
        self.write_member(member)
    }

    fn write_member(&mut self, member: Member) -> io::Result<()> {
        self.out.write_all(&member.compressed?)?;
        let mut input = member.input;
        input.clear();
        self.spare.push(input);
        Ok(())
    }
}

impl Write for Gzip<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() < BLOCK {
            self.block.reserve_exact(BLOCK - self.block.len());
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.submit()?;
        }
        Ok(taken)
    }
    /// Does not flush: the cut would show in the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encoder for Gzip<'_> {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if !self.block.is_empty() || !self.any {
            self.submit()?;
        }
        while !self.in_flight.is_empty() {
            self.write_oldest()?;
        }
        self.out.flush()
    }
}

thread_local! {
    /// A compressor's tables are a few hundred KiB; kept per thread for the level used last.
    static COMPRESSOR: RefCell<Option<(u8, Compressor)>> = const { RefCell::new(None) };
}

fn compress(input: Vec<u8>, level: u8) -> Member {
    let compressed = COMPRESSOR.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(known, _)| *known != level) {
            let lvl = CompressionLvl::new(i32::from(level)).map_err(|_range| bad_level(level, "gzip"))?;
            *kept = Some((level, Compressor::new(lvl)));
        }
        let (_, compressor) = kept.as_mut().expect("just set");
        let mut out = vec![0; compressor.gzip_compress_bound(input.len())];
        let length = compressor.gzip_compress(&input, &mut out).map_err(io::Error::other)?;
        out.truncate(length);
        Ok(out)
    });
    Member { compressed, input }
}
