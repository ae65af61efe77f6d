//! Archives that ADD extracts: told by content, not by name, and hostile until proven otherwise (spec G-49).
//!
//! The destination is the archive's root: `..`, absolute names and links lead nowhere else. Entries replace what is there one by one;
//! `.wh.` names mean nothing here.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Component, Path, PathBuf};

use rbuild_fs::archive::{self, Compression, EntryKind as TarKind, Header, TarReader};
use rbuild_snapshotter::{Attrs, EntryKind, SnapshotError};

use super::ActionStep;
use super::make::failed;
use crate::WorkError;
use crate::select::Match;
use crate::tree::{Tree, kept_xattrs, read_error};

/// Most links followed for one path.
const LINK_LIMIT: usize = 255;
/// Read from the decoder at once.
const BUFFER: usize = 256 << 10;
/// The first bytes, read again as part of the whole.
const PREFIX: usize = 16;

/// An archive that was recognised.
pub(super) struct Candidate {
    compression: Compression,
}

/// Whether a regular file is an archive: known compression, and a tar whose first header parses.
pub(super) fn detect(tree: &Tree, found: &Match) -> Result<Option<Candidate>, WorkError> {
    if found.stat.size == 0 {
        return Ok(None);
    }
    let file = tree.open(&found.path)?.file;
    Ok(archive::probe(BufReader::new(file)).map(|compression| Candidate { compression }))
}

/// Extracts into `target`, which exists. `owner` replaces the archive's owners.
pub(super) fn extract(
    at: &ActionStep<'_>,
    candidate: Candidate,
    tree: &Tree,
    found: &Match,
    target: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), WorkError> {
    let name = found.name.to_string_lossy().into_owned();
    let broken = |entry: &Path, source| WorkError::Archive { archive: name.clone(), entry: entry.to_owned(), source };
    let mut file = tree.open(&found.path)?.file;
    let mut prefix = Vec::with_capacity(PREFIX);
    file.by_ref().take(PREFIX as u64).read_to_end(&mut prefix).map_err(read_error(&found.path))?;
    let whole = Box::new(Cursor::new(prefix).chain(file));
    let decoded = archive::decoder(whole, candidate.compression).map_err(|source| broken(Path::new(""), source))?;
    let mut reader = TarReader::new(BufReader::with_capacity(BUFFER, decoded));
    let mut extraction =
        Extraction { at, archive: &name, top: target.to_owned(), owner, directories: HashMap::new(), times: Vec::new() };
    let mut last = PathBuf::new();
    while let Some(header) = reader.next_entry().map_err(|source| broken(&last, source))? {
        if at.cancel.is_cancelled() {
            return Err(WorkError::Cancelled);
        }
        extraction.entry(&header, reader.body())?;
        last = header.path;
    }
    extraction.finish()
}

struct Extraction<'a> {
    at: &'a ActionStep<'a>,
    archive: &'a str,
    /// The archive's root.
    top: PathBuf,
    owner: Option<(u32, u32)>,
    /// Directories of the archive, as named in it, and where they really are.
    directories: HashMap<Vec<OsString>, PathBuf>,
    /// Set last, because entries that follow change them.
    times: Vec<(PathBuf, (i64, u32))>,
}

impl Extraction<'_> {
    fn entry(&mut self, header: &Header, body: &mut dyn Read) -> Result<(), WorkError> {
        let mut names = clean(&header.path);
        // The root itself keeps what it has.
        let Some(name) = names.pop() else { return Ok(()) };
        let path = self.directory(&names, &header.path)?.join(name);
        let there = self.at.kind(&path)?;
        let in_the_way = match there {
            None => false,
            Some(EntryKind::Dir) => header.kind != TarKind::Dir,
            Some(_) => header.kind != TarKind::File,
        };
        let link = header.link.as_deref();
        if in_the_way && !(header.kind == TarKind::HardLink && self.linked(link, header)? == path) {
            self.at.writer.remove(&path).map_err(failed("replace", &path))?;
            self.directories.clear();
        }
        let (uid, gid) = self.owner.unwrap_or((header.uid, header.gid));
        let xattrs = kept_xattrs(header.xattrs.clone());
        let attrs = Attrs { mode: header.mode & 0o7777, uid, gid, mtime: Some(header.mtime), xattrs };
        self.write(header, body, &path, &attrs)
    }

    fn write(&mut self, header: &Header, body: &mut dyn Read, path: &Path, attrs: &Attrs) -> Result<(), WorkError> {
        let writer = self.at.writer;
        let result = match header.kind {
            TarKind::File => writer.write_file(path, body, header.size, attrs),
            TarKind::Dir => {
                self.times.push((path.to_owned(), header.mtime));
                writer.make_dir(path, attrs)
            }
            TarKind::Symlink => writer.symlink(path, header.link.as_deref().unwrap_or(Path::new("")), attrs),
            TarKind::HardLink => {
                let target = self.linked(header.link.as_deref(), header)?;
                if target == path {
                    return Ok(());
                }
                writer.hard_link(path, &target)
            }
            TarKind::CharDevice => writer.make_node(path, EntryKind::CharDevice, device(header), attrs),
            TarKind::BlockDevice => writer.make_node(path, EntryKind::BlockDevice, device(header), attrs),
            TarKind::Fifo => writer.make_node(path, EntryKind::Fifo, 0, attrs),
        };
        result.map_err(|error| self.failed(header, path, error))
    }

    /// A broken stream is the archive's fault, anything else the destination's.
    fn failed(&self, header: &Header, path: &Path, error: SnapshotError) -> WorkError {
        let is_broken = |source: &io::Error| {
            matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
                && source.raw_os_error().is_none()
        };
        if matches!(&error, SnapshotError::Io { source, .. } if is_broken(source)) {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            return WorkError::Archive { archive: self.archive.to_owned(), entry: header.path.clone(), source };
        }
        failed("extract to", path)(error)
    }

    /// The path that a hard link names.
    fn linked(&mut self, link: Option<&Path>, header: &Header) -> Result<PathBuf, WorkError> {
        let mut names = clean(link.unwrap_or(Path::new("")));
        let Some(name) = names.pop() else {
            return Err(self.refused(header.path.as_path(), io::ErrorKind::InvalidInput));
        };
        Ok(self.directory(&names, &header.path)?.join(name))
    }

    /// Where a directory of the archive really is: links are followed inside the archive's root, what is missing is made.
    fn directory(&mut self, names: &[OsString], entry: &Path) -> Result<PathBuf, WorkError> {
        if let Some(known) = self.directories.get(names) {
            return Ok(known.clone());
        }
        let mut rest: Vec<OsString> = names.iter().rev().cloned().collect();
        let mut at = self.top.clone();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                if at != self.top {
                    at.pop();
                }
                continue;
            }
            let next = at.join(&name);
            match self.at.kind(&next)? {
                Some(EntryKind::Dir) => at = next,
                None => {
                    let attrs = Attrs { mode: 0o755, uid: 0, gid: 0, mtime: None, xattrs: Vec::new() };
                    self.at.writer.make_dir(&next, &attrs).map_err(failed("make directory", &next))?;
                    at = next;
                }
                Some(EntryKind::Symlink) => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(self.refused(entry, io::ErrorKind::InvalidData));
                    }
                    let target = self.at.writer.read_link(&next).map_err(failed("read link", &next))?;
                    if target.is_absolute() {
                        at = self.top.clone();
                    }
                    rest.extend(parts(&target).into_iter().rev());
                }
                Some(_) => return Err(self.refused(entry, io::ErrorKind::NotADirectory)),
            }
        }
        self.directories.insert(names.to_vec(), at.clone());
        Ok(at)
    }

    fn refused(&self, entry: &Path, kind: io::ErrorKind) -> WorkError {
        WorkError::Archive { archive: self.archive.to_owned(), entry: entry.to_owned(), source: kind.into() }
    }

    fn finish(self) -> Result<(), WorkError> {
        for (path, time) in self.times.iter().rev() {
            // It may have been replaced by something else meanwhile, which has a time of its own.
            if self.at.kind(path)? == Some(EntryKind::Dir) {
                self.at.writer.set_times(path, *time).map_err(failed("set the time of", path))?;
            }
        }
        Ok(())
    }
}

/// The names of a path with `..` taken out as Go's `filepath.Clean` does, never above the root.
fn clean(path: &Path) -> Vec<OsString> {
    let mut names = Vec::new();
    for part in parts(path) {
        if part == ".." {
            names.pop();
        } else {
            names.push(part);
        }
    }
    names
}

fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn device(header: &Header) -> u64 {
    let (major, minor) = header.rdev;
    rustix::fs::makedev(major, minor)
}
