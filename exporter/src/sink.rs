//! Where the files of an image layout go: into a tar, or into a directory.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rbuild_fs::archive::{EntryKind, Header, TarWriter};
use rbuild_oci::{Descriptor, Index, MAX_MANIFEST_BYTES};

use crate::error::{AtPath, InDocument, InStream, Result};
use crate::output::Temporary;
use crate::resolve::{IMAGE_NAME, REF_NAME};

/// Takes files by their path in a layout, in sorted order.
pub(crate) trait LayoutSink {
    /// Whether a blob of this size is there already, so that it need not be written.
    fn has(&mut self, path: &str, size: u64) -> Result<bool>;
    /// Takes a small file.
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()>;
    /// Takes a file of exactly `size` bytes.
    fn stream(&mut self, path: &str, size: u64, from: &mut dyn Read) -> Result<()>;
    /// Takes the index.
    fn index(&mut self, index: Index) -> Result<()>;
}

/// Writes a deterministic tar.
pub(crate) struct TarSink<W: Write> {
    tar: TarWriter<W>,
    directories: BTreeSet<PathBuf>,
}

impl<W: Write> TarSink<W> {
    pub(crate) fn new(to: W) -> TarSink<W> {
        TarSink { tar: TarWriter::new(to), directories: BTreeSet::new() }
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.tar.finish().stream(|| "write the archive's end".into()).map(drop)
    }

    fn make_parents(&mut self, path: &Path) -> Result<()> {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
        parents.reverse();
        for parent in parents {
            if self.directories.insert(parent.into()) {
                let header = header(parent, EntryKind::Dir, 0o755, 0);
                self.tar.append(&header, &mut std::io::empty()).stream(|| "write the archive".into())?;
            }
        }
        Ok(())
    }
}

fn header(path: &Path, kind: EntryKind, mode: u32, size: u64) -> Header {
    Header { path: path.into(), kind, link: None, mode, uid: 0, gid: 0, size, mtime: (0, 0), rdev: (0, 0), xattrs: Vec::new() }
}

impl<W: Write> LayoutSink for TarSink<W> {
    fn has(&mut self, _path: &str, _size: u64) -> Result<bool> {
        Ok(false)
    }

    fn file(&mut self, path: &str, mut bytes: &[u8]) -> Result<()> {
        self.stream(path, bytes.len() as u64, &mut bytes)
    }

    fn stream(&mut self, path: &str, size: u64, from: &mut dyn Read) -> Result<()> {
        let path = Path::new(path);
        self.make_parents(path)?;
        self.tar.append(&header(path, EntryKind::File, 0o444, size), from).stream(|| format!("write `{}`", path.display()))
    }

    fn index(&mut self, index: Index) -> Result<()> {
        self.file("index.json", &index.to_json())
    }
}

/// Writes into a directory, each file beside its place first. What it made is removed unless [`DirectorySink::finish`] is called.
pub(crate) struct DirectorySink {
    root: PathBuf,
    random: String,
    /// Files and directories that were not there before, in the order they were made.
    made: Vec<PathBuf>,
}

impl DirectorySink {
    pub(crate) fn open(root: &Path, random: String) -> Result<DirectorySink> {
        let mut sink = DirectorySink { root: root.into(), random, made: Vec::new() };
        sink.make_directories(root)?;
        Ok(sink)
    }

    pub(crate) fn finish(mut self) {
        self.made.clear();
    }

    fn make_directories(&mut self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() || fs_err::metadata(path).is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_directories(parent)?;
        }
        fs_err::create_dir(path).at("create", path)?;
        self.made.push(path.into());
        Ok(())
    }
}

impl LayoutSink for DirectorySink {
    fn has(&mut self, path: &str, size: u64) -> Result<bool> {
        Ok(fs_err::symlink_metadata(self.root.join(path)).is_ok_and(|found| found.is_file() && found.len() == size))
    }

    fn file(&mut self, path: &str, mut bytes: &[u8]) -> Result<()> {
        self.stream(path, bytes.len() as u64, &mut bytes)
    }

    /// Reads `from` to its end, where a verified one fails, before the file appears.
    fn stream(&mut self, path: &str, _size: u64, from: &mut dyn Read) -> Result<()> {
        let path = self.root.join(path);
        self.make_directories(path.parent().expect("it was joined to the root"))?;
        let temporary = Temporary::beside(&path, &self.random)?;
        let mut file = fs_err::OpenOptions::new().write(true).create_new(true).open(temporary.path()).at("create", &path)?;
        std::io::copy(from, &mut file).stream(|| format!("write `{}`", path.display()))?;
        let is_new = fs_err::symlink_metadata(&path).is_err();
        temporary.place(&path)?;
        if is_new {
            self.made.push(path);
        }
        Ok(())
    }

    /// Entries of the old index stay, unless one of the new ones has their name or, without a name, their digest.
    fn index(&mut self, index: Index) -> Result<()> {
        let path = self.root.join("index.json");
        let old = match fs_err::metadata(&path) {
            Ok(found) if found.len() <= MAX_MANIFEST_BYTES as u64 => fs_err::read(&path).at("read", &path)?,
            Ok(_) | Err(_) => return self.file("index.json", &index.to_json()),
        };
        let mut merged = Index::from_json(&old).document(path.display())?;
        merged.manifests.retain(|old| !index.manifests.iter().any(|new| replaces(new, old)));
        merged.manifests.extend(index.manifests);
        self.file("index.json", &merged.to_json())
    }
}

fn replaces(new: &Descriptor, old: &Descriptor) -> bool {
    let name = |entry: &Descriptor| entry.annotations.get(IMAGE_NAME).or_else(|| entry.annotations.get(REF_NAME)).cloned();
    match (name(new), name(old)) {
        (Some(new), Some(old)) => new == old,
        (None, None) | (Some(_), None) => new.digest == old.digest,
        (None, Some(_)) => false,
    }
}

impl Drop for DirectorySink {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            let removed = if path.is_dir() { fs_err::remove_dir(path) } else { fs_err::remove_file(path) };
            if let Err(error) = removed {
                tracing::debug!(%error, "a part of a failed export stays");
            }
        }
    }
}
