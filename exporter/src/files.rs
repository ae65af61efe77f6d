//! The files of an archive or of a directory that holds what an archive would, for loading.
//!
//! An archive is read once, front to back, for it may be a pipe. Small documents are kept in memory; everything else goes straight
//! into the store as a blob: under its own digest, or, beneath `blobs/`, under the digest that its name promises. Nothing refers to
//! these blobs yet, so what turns out to be of no use is collected later.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use rbuild_fs::archive::{EntryKind, TarReader, decode_any};
use rbuild_oci::{Algorithm, Descriptor, Digest};
use rbuild_snapshotter::Snapshotter;
use rbuild_store::{BlobStat, Resource};

use crate::error::{ExportError, InStream, Result};
use crate::layout::LayoutDirectory;

/// Entries of one archive; 127 layers in the oldest format are some 500.
const MOST_ENTRIES: usize = 100_000;
/// Bytes of one document that is kept in memory, and of all of them.
const LARGEST_DOCUMENT: u64 = 16 << 20;
const MOST_DOCUMENT_BYTES: u64 = 64 << 20;
/// Links that are followed from one name.
const MOST_LINKS: usize = 16;

/// Where the files are.
pub(crate) enum Files {
    Archive(BTreeMap<String, Entry>),
    Directory(LayoutDirectory),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Document(Vec<u8>),
    Stored(BlobStat),
    /// Another path of the archive, absolute.
    Link(String),
}

impl Files {
    /// Reads a whole archive, compressed or not.
    pub(crate) fn read_archive(snapshotter: &Snapshotter, from: Box<dyn Read + Send>) -> Result<Files> {
        let step = || "read the archive".to_owned();
        let (_, decoded) = decode_any(from).stream(step)?;
        let mut tar = TarReader::new(BufReader::with_capacity(256 << 10, decoded));
        let mut spool = Spool { snapshotter, entries: BTreeMap::new(), document_bytes: 0 };
        while let Some(header) = tar.next_entry().stream(step)? {
            let path = clean(&header.path)?;
            let entry = match header.kind {
                EntryKind::File => spool.take(&path, header.size, tar.body())?,
                EntryKind::Symlink => Entry::Link(link_target(&path, header.link.as_deref(), true)?),
                EntryKind::HardLink => Entry::Link(link_target(&path, header.link.as_deref(), false)?),
                EntryKind::Dir => continue,
                EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                    return Err(ExportError::bad_archive(path, "it is neither a file nor a directory nor a link"));
                }
            };
            spool.add(path, entry)?;
        }
        Ok(Files::Archive(spool.entries))
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, path: &str) -> Result<bool> {
        match self {
            Files::Archive(entries) => Ok(follow(entries, path)?.is_some()),
            Files::Directory(directory) => Ok(directory.open_file(path)?.is_some()),
        }
    }

    /// A document of at most `limit` bytes; `None` when it is absent. Not verified.
    pub(crate) fn document(&self, snapshotter: &Snapshotter, path: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        match self {
            Files::Directory(directory) => directory.read(path, limit),
            Files::Archive(entries) => match follow(entries, path)? {
                None => Ok(None),
                Some(Entry::Document(bytes)) if bytes.len() <= limit => Ok(Some(bytes.clone())),
                Some(Entry::Stored(stat)) => Ok(snapshotter.store().read_blob(&stat.digest, limit as u64)?),
                Some(Entry::Document(_) | Entry::Link(_)) => {
                    Err(ExportError::bad_archive(path, format!("it has more than the {limit} bytes that are allowed")))
                }
            },
        }
    }

    /// Makes sure that a file is in the store and leased. With `expected` it is verified, and no more is read than it should have.
    pub(crate) fn store(&self, snapshotter: &Snapshotter, path: &str, expected: Option<&Descriptor>) -> Result<Option<BlobStat>> {
        let most = expected.map_or(u64::MAX, |expected| expected.size.saturating_add(1));
        let expected = expected.map(|expected| &expected.digest);
        match self {
            Files::Directory(directory) => match (stored(snapshotter, expected)?, directory.open_file(path)?) {
                (Some(stat), _) => Ok(Some(stat)),
                (None, Some(file)) => store_stream(snapshotter, path, expected, &mut file.take(most)).map(Some),
                (None, None) => Ok(None),
            },
            Files::Archive(entries) => match follow(entries, path)? {
                None => Ok(None),
                Some(Entry::Document(bytes)) => store_stream(snapshotter, path, expected, &mut bytes.as_slice()).map(Some),
                Some(Entry::Stored(stat)) => match expected {
                    Some(expected) if *expected != stat.digest => {
                        let (expected, actual) = (expected.clone(), stat.digest.clone());
                        Err(ExportError::Mismatch { what: format!("`{path}`"), expected, actual })
                    }
                    Some(_) | None => Ok(Some(stat.clone())),
                },
                Some(Entry::Link(_)) => Ok(None),
            },
        }
    }
}

/// What the store has need not be read again.
fn stored(snapshotter: &Snapshotter, blob: Option<&Digest>) -> Result<Option<BlobStat>> {
    match blob {
        Some(blob) if snapshotter.session().lease(&Resource::Blob(blob.clone()))? => Ok(snapshotter.store().blob(blob)?),
        Some(_) | None => Ok(None),
    }
}

struct Spool<'a> {
    snapshotter: &'a Snapshotter,
    entries: BTreeMap<String, Entry>,
    document_bytes: u64,
}

impl Spool<'_> {
    fn take(&mut self, path: &str, size: u64, body: &mut dyn Read) -> Result<Entry> {
        if !is_document(path) {
            return store_stream(self.snapshotter, path, promised(path).as_ref(), body).map(Entry::Stored);
        }
        self.document_bytes = self.document_bytes.saturating_add(size);
        if size > LARGEST_DOCUMENT || self.document_bytes > MOST_DOCUMENT_BYTES {
            return Err(ExportError::bad_archive(path, "the archive's documents are larger than allowed"));
        }
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).stream(|| format!("read `{path}`"))?;
        Ok(Entry::Document(bytes))
    }

    /// The same file twice is tolerated, two files under one name are not: readers would differ about which one counts.
    fn add(&mut self, path: String, entry: Entry) -> Result<()> {
        if self.entries.get(&path).is_some_and(|known| *known != entry) {
            return Err(ExportError::bad_archive(path, "the archive has it twice, with different contents"));
        }
        if self.entries.len() >= MOST_ENTRIES {
            return Err(ExportError::bad_archive(path, format!("the archive has more than {MOST_ENTRIES} entries")));
        }
        self.entries.insert(path, entry);
        Ok(())
    }
}

/// Names that are JSON, in any of the formats. Configurations and manifests beneath `blobs/` are stored like layers.
fn is_document(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".json") || matches!(name, "json" | "oci-layout" | "repositories" | "VERSION")
}

/// The digest that a path beneath `blobs/` promises.
fn promised(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Stores a stream as a blob, which becomes visible only if it is what `expected` says.
pub(crate) fn store_stream(
    snapshotter: &Snapshotter,
    path: &str,
    expected: Option<&Digest>,
    from: &mut dyn Read,
) -> Result<BlobStat> {
    let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
    let mut blob = snapshotter.session().blob_writer_with(algorithm)?;
    io::copy(from, &mut blob).stream(|| format!("read `{path}`"))?;
    Ok(blob.finish(expected)?)
}

fn follow<'e>(entries: &'e BTreeMap<String, Entry>, path: &str) -> Result<Option<&'e Entry>> {
    let mut path = clean(Path::new(path))?;
    for _ in 0..MOST_LINKS {
        match entries.get(&path) {
            Some(Entry::Link(target)) => path.clone_from(target),
            found => return Ok(found),
        }
    }
    Err(ExportError::bad_archive(path, "it is a link to a link to a link …"))
}

/// A relative path without `.`; one with `..` is refused, for no writer makes it.
fn clean(path: &Path) -> Result<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(ExportError::bad_archive(path.to_string_lossy(), "a path of an archive must not have `..`"));
            }
        }
    }
    let parts: Option<Vec<&str>> = parts.into_iter().collect();
    let parts = parts.ok_or_else(|| ExportError::bad_archive(path.to_string_lossy(), "its name is not UTF-8"))?;
    Ok(parts.join("/"))
}

/// Where a link leads: a symbolic one starts at its own directory, and must not climb out of the archive.
fn link_target(path: &str, target: Option<&Path>, symbolic: bool) -> Result<String> {
    let climbs = || ExportError::bad_archive(path, "the link leads out of the archive");
    let target = target.ok_or_else(|| ExportError::bad_archive(path, "the link has no target"))?;
    let mut resolved = PathBuf::new();
    if symbolic && !target.is_absolute() {
        resolved.push(Path::new(path).parent().unwrap_or(Path::new("")));
    }
    for component in target.components() {
        match component {
            Component::Normal(part) => resolved.push(part),
            Component::ParentDir if !resolved.pop() => return Err(climbs()),
            Component::ParentDir | Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean(&resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_never_climb() {
        assert_eq!(clean(Path::new("./a//b/./c/")).unwrap(), "a/b/c");
        assert_eq!(clean(Path::new("/a")).unwrap(), "a");
        assert!(clean(Path::new("a/../b")).is_err());
        let link = |path, target, symbolic| link_target(path, Some(Path::new(target)), symbolic);
        assert_eq!(link("x/layer.tar", "../y/layer.tar", true).unwrap(), "y/layer.tar");
        assert_eq!(link("x/layer.tar", "y/layer.tar", false).unwrap(), "y/layer.tar");
        assert_eq!(link("x/layer.tar", "/y", true).unwrap(), "y");
        assert!(link("x/layer.tar", "../../y", true).is_err());
        assert!(link_target("x", None, true).is_err());
    }

    #[test]
    fn links_are_followed_to_their_end() {
        let link = |target: &str| Entry::Link(target.into());
        let entries: BTreeMap<String, Entry> = [
            ("a".to_owned(), link("b")),
            ("b".to_owned(), link("c")),
            ("c".to_owned(), Entry::Document(vec![1])),
            ("loop".to_owned(), link("loop")),
        ]
        .into();
        assert_eq!(follow(&entries, "./a").unwrap(), Some(&Entry::Document(vec![1])));
        assert_eq!(follow(&entries, "none").unwrap(), None);
        assert!(follow(&entries, "loop").is_err());
    }

    #[test]
    fn only_blob_paths_promise_digests() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(promised(&format!("blobs/sha256/{hex}")).unwrap().hex(), hex);
        assert_eq!(promised(&format!("x/sha256/{hex}")), None);
        assert_eq!(promised("blobs/sha256/zz"), None);
        assert!(is_document("manifest.json") && is_document("x/json") && !is_document("x/layer.tar"));
    }
}
