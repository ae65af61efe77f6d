//! Rooted paths, walks, copies, extended attributes, archives and path patterns.
//!
//! SEAM: signatures agreed on; bodies and the split into files are this crate's own work.
#![allow(missing_docs, clippy::todo, unused_variables, reason = "seam")]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A mount that is not attached anywhere yet, or the recipe for one; the sandbox child attaches it.
#[derive(Debug)]
pub enum MountSource {
    /// From fsmount(2) or open_tree(2): attach with move_mount(2).
    Detached(OwnedFd),
    /// For kernels before 6.8: overlay by mount(2) with short relative paths, made by the child.
    Overlay { base: PathBuf, lower: Vec<String>, upper: Option<String>, work: Option<String>, userxattr: bool },
}

/// A directory as the root of all resolution beneath it (openat2, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS). Clone duplicates nothing (Arc).
#[derive(Clone, Debug)]
pub struct Root { _fd: std::sync::Arc<OwnedFd> }
impl Root {
    pub fn open(path: &Path) -> io::Result<Root> { todo!() }
    pub fn from_fd(fd: OwnedFd) -> Root { todo!() }
    pub fn fd(&self) -> BorrowedFd<'_> { todo!() }
    /// Opens beneath the root, links resolved in scope. `path` may be absolute or relative, both mean beneath the root.
    pub fn open_file(&self, path: &Path) -> io::Result<std::fs::File> { todo!() }
    pub fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> { todo!() }
    /// lstat (or stat in scope when `follow`); `None` for ENOENT and ENOTDIR.
    pub fn stat(&self, path: &Path, follow: bool) -> io::Result<Option<Stat>> { todo!() }
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> { todo!() }
    /// Sorted names.
    pub fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> { todo!() }
    /// At most `limit` bytes, else an error; `None` when absent.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> { todo!() }
    /// Resolves links as chroot would; see SnapshotWriter::resolve. The result is a clean absolute path beneath the root.
    pub fn resolve(&self, path: &Path, follow: bool) -> io::Result<PathBuf> { todo!() }
}

/// statx without the noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat { pub kind: Kind, pub mode: u32, pub uid: u32, pub gid: u32, pub size: u64, pub mtime: (i64, u32), pub ctime: (i64, u32), pub dev: u64, pub ino: u64, pub nlink: u64, pub rdev: u64 }
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind { File, Dir, Symlink, CharDevice, BlockDevice, Fifo, Socket }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry { pub name: std::ffi::OsString, pub kind: Kind }

/// Walks beneath `start` in parallel (rayon scope, dirfd based, race-free), calling `enter(relative path, stat) -> Enter` for each entry from
/// several threads; results come back sorted by path components.
pub enum Enter { /** list it and go into it */ Yes, /** list it but do not descend */ Leaf, /** skip it but descend, list it if something below is listed */ Through, Skip }
#[derive(Clone, Debug)]
pub struct WalkEntry { pub path: PathBuf, pub stat: Stat }
pub fn walk(root: &Root, start: &Path, enter: &(dyn Fn(&Path, &Stat) -> Enter + Sync)) -> io::Result<Vec<WalkEntry>> { todo!() }

/// FICLONE, then copy_file_range, then read/write. Sparse holes need not survive.
pub fn copy_contents(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> io::Result<u64> { todo!() }

pub mod xattr {
    //! Extended attributes of descriptors and of links (through /proc-free *at paths where the kernel has them).
    use super::*;
    pub fn list(fd: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> { todo!() }
    pub fn set(fd: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> { todo!() }
}

pub mod ignore {
    //! `.dockerignore` patterns, a port of moby/patternmatcher's rules (spec §1.6).
    use std::path::Path;
    #[derive(Debug, thiserror::Error)]
    pub enum PatternError { #[error("illegal exclusion pattern: \"!\"")] LoneNegation, #[error("bad pattern `{0}`")] Bad(String) }
    /// One pattern and the line (from 1) that it came from.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Line { pub number: u32, pub pattern: String }
    /// Reads an ignore file's text (spec §1.6 point 2).
    pub fn read_lines(text: &str) -> Vec<Line> { todo!() }
    #[derive(Clone, Debug)]
    pub struct Matcher { _inner: () }
    #[derive(Clone, Debug)]
    /// State of a directory on the way down (MatchesUsingParentResults).
    pub struct ParentMatch { _inner: () }
    impl Matcher {
        pub fn new(lines: &[Line]) -> Result<Matcher, PatternError> { todo!() }
        pub fn is_empty(&self) -> bool { todo!() }
        pub fn has_negations(&self) -> bool { todo!() }
        /// Whether `path` (relative, clean) is matched, and by which pattern's index the decision fell.
        pub fn matches(&self, path: &Path, parent: Option<&ParentMatch>) -> (bool, Option<usize>, ParentMatch) { todo!() }
        /// Whether something below an excluded directory could be re-included.
        pub fn may_reinclude_below(&self, directory: &Path) -> bool { todo!() }
    }
}

pub mod glob {
    //! Go's `filepath.Match` (spec G-35).
    #[derive(Debug, thiserror::Error, PartialEq, Eq)]
    #[error("syntax error in pattern `{0}`")]
    pub struct BadPattern(pub String);
    /// Whether the whole `name` matches. `*` and `?` do not match `/`.
    pub fn matches(pattern: &str, name: &[u8]) -> Result<bool, BadPattern> { todo!() }
    pub fn has_meta(pattern: &str) -> bool { todo!() }
}

pub mod archive {
    //! Bounded decoders of hostile archives, and encoders whose bytes do not depend on the thread count.
    use super::*;
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Compression { None, Gzip, Bzip2, Xz, Zstd }
    /// By the first bytes.
    pub fn detect(prefix: &[u8]) -> Compression { todo!() }
    /// A decoding reader (all members and frames).
    pub fn decoder(from: Box<dyn Read + Send>, compression: Compression) -> io::Result<Box<dyn Read + Send>> { todo!() }

    /// An encoder that writes compressed bytes to `out`: gzip in 1 MiB members by libdeflate on rayon, zstd with >= 1 worker, or none.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Codec { None, Gzip { level: u8 }, Zstd { level: i32 } }
    pub fn encoder<'a>(codec: Codec, out: Box<dyn Write + Send + 'a>) -> io::Result<Box<dyn Encoder + 'a>> { todo!() }
    pub trait Encoder: Write { fn finish(self: Box<Self>) -> io::Result<()>; }

    /// One entry's header, with everything from PAX resolved.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Header { pub path: PathBuf, pub kind: EntryKind, pub link: Option<PathBuf>, pub mode: u32, pub uid: u32, pub gid: u32, pub size: u64, pub mtime: (i64, u32), pub rdev: (u32, u32), pub xattrs: Vec<(Vec<u8>, Vec<u8>)> }
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum EntryKind { File, Dir, Symlink, HardLink, CharDevice, BlockDevice, Fifo }
    /// Iterates a tar stream (over tar-core, limits on metadata sizes). A truncated stream is an error, never an early end.
    pub struct TarReader<R: Read> { _r: R }
    impl<R: Read> TarReader<R> {
        pub fn new(from: R) -> TarReader<R> { todo!() }
        /// Skips what is left of the previous entry. `None` at the end marker (or a clean EOF at a header boundary).
        pub fn next_entry(&mut self) -> io::Result<Option<Header>> { todo!() }
        /// The current entry's content.
        pub fn body(&mut self) -> &mut dyn Read { todo!() }
    }
    /// Writes canonical tars: PAX only when needed, whole seconds, empty uname/gname, directories end in `/` (Go's archive/tar choices).
    pub struct TarWriter<W: Write> { _w: W }
    impl<W: Write> TarWriter<W> {
        pub fn new(to: W) -> TarWriter<W> { todo!() }
        /// `body` must give exactly `header.size` bytes for a file.
        pub fn append(&mut self, header: &Header, body: &mut dyn Read) -> io::Result<()> { todo!() }
        /// Two zero blocks.
        pub fn finish(self) -> io::Result<W> { todo!() }
    }
}
