//! Decompression of hostile bytes, streaming and with bounded memory; and what kind of archive some bytes are.

use std::io::{self, BufReader, Cursor, Read};

use super::TarReader;

/// Bytes that are looked at to tell compressions apart.
pub(super) const PREFIX: usize = 6;
/// Compressed input is read in pieces of this size.
const BUFFER: usize = 256 * 1024;
/// What an xz stream may need; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;
/// Largest zstd window, as a power of two: 128 MiB, what `zstd -d` allows by itself.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, or not in a way known here.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// bzip2, any number of streams.
    Bzip2,
    /// xz, any number of streams.
    Xz,
    /// zstd (RFC 8878), any number of frames, skippable ones too.
    Zstd,
}

/// By the first bytes, of which six are enough.
pub fn detect(prefix: &[u8]) -> Compression {
    match prefix {
        [0x1f, 0x8b, 8, ..] => Compression::Gzip,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        // A frame, or a skippable one in front of it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// A decoding reader, of all members and frames. Input that is broken, ends early, or needs a window above the limits (xz 256 MiB,
/// zstd 128 MiB) is an error of the reader.
pub fn decoder<'a>(from: Box<dyn Read + Send + 'a>, compression: Compression) -> io::Result<Box<dyn Read + Send + 'a>> {
    let from = BufReader::with_capacity(BUFFER, from);
    Ok(match compression {
        Compression::None => Box::new(from),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(from)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(from, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(from)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Detects the compression from the stream's own first bytes and decodes it.
pub fn decode_any<'a>(mut from: Box<dyn Read + Send + 'a>) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut prefix = Vec::with_capacity(PREFIX);
    (&mut from).take(PREFIX as u64).read_to_end(&mut prefix)?;
    let compression = detect(&prefix);
    Ok((compression, decoder(Box::new(Cursor::new(prefix).chain(from)), compression)?))
}

/// Whether a decoded stream begins like a tar: its first entry's headers must parse, with a right checksum. An empty tar is none.
pub fn is_tar(from: impl Read) -> bool {
    matches!(TarReader::new(from).next_entry(), Ok(Some(_)))
}

/// The compression of a tar archive; `None` when the bytes are no archive (spec G-49: then ADD copies them as they are).
pub fn probe(from: impl Read + Send) -> Option<Compression> {
    let (compression, decoded) = decode_any(Box::new(from)).ok()?;
    is_tar(decoded).then_some(compression)
}
