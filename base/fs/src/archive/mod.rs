//! Archives: bounded decoders of hostile bytes, and encoders whose bytes do not depend on the thread count.
//!
//! ```text
//! compressed bytes ─detect→ Compression ─decoder→ tar bytes ─TarReader→ Header + body
//! Header + body ─TarWriter→ tar bytes ─encoder(Codec)→ compressed bytes
//! ```
//!
//! tar-core, chosen in the design's survey, serves as an independent peer in the tests. The reader is our own because tar-core keeps
//! mtime as unsigned whole seconds (layers carry negative and fractional ones), asks to parse an entry again from its start whenever
//! the window was too short, and hands extended headers out per record; what was left to share was the octal parser.

mod decode;
mod encode;
mod header;
mod pax;
mod read;
mod sparse;
mod write;

use std::path::PathBuf;

pub use decode::{Compression, decode_any, decoder, detect, is_tar, probe};
pub use encode::{Codec, Encoder, encoder};
pub use read::TarReader;
pub use write::TarWriter;

/// One entry's header, with everything from PAX resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As the archive has it: possibly absolute, with `..`, or with a slash at the end of a directory.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// A symbolic link's target, or the path in the archive that a hard link links to; `None` for the rest.
    pub link: Option<PathBuf>,
    /// Permission bits, `0o0..=0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content; 0 for everything but files.
    pub size: u64,
    /// Seconds since the epoch and nanoseconds. The writer writes the seconds only.
    pub mtime: (i64, u32),
    /// A device's major and minor number; (0, 0) for the rest.
    pub rdev: (u32, u32),
    /// Extended attributes (`SCHILY.xattr.*`), sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Another name for an earlier entry.
    HardLink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

#[cfg(test)]
mod tests;
