//! Content keys: BLAKE3 over what a step reads of an input (spec §4.3), and over nothing else.
//!
//! Counted: kind, permission bits, owner, size, link target, device number, `user.*` xattrs and capabilities, content, and the names
//! below a copied directory. Not counted: times, the name and metadata of a copied directory itself (its content is copied), and
//! hard links. The encoding is `rbuild_graph::Encoder`'s; its version is in the domain.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;
use rbuild_fs::ignore::{Line, Matcher};
use rbuild_fs::{Kind, Stat, WalkEntry};
use rbuild_graph::{CopyFilter, CopyPath, Encoder, Selection};

use crate::WorkError;
use crate::parents::{self, Kept};
use crate::select::{Match, find};
use crate::tree::{Listing, Tree, Xattrs};

const DOMAIN: &str = "rbuild.content.v1";
/// How much of a file is read at once.
const CHUNK: usize = 256 << 10;

/// Whether the metadata of a selected directory itself is read: a mount shows it, a copy does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    Shown,
    Hidden,
}

/// Digest of a selection of a tree. Blocks; hashes files on rayon.
pub(crate) fn content_digest(tree: &Tree, selection: &Selection, top: Top) -> Result<[u8; 32], WorkError> {
    let mut to = Encoder::new(DOMAIN);
    match selection {
        Selection::Whole => {
            let path = CopyPath { path: "/".to_owned(), wildcard: false, follow: true, parents: false };
            encode_path(&mut to, tree, &path, None, top)?;
        }
        Selection::Paths(filters) => {
            for CopyFilter { paths, exclude } in filters {
                let exclude = exclude_matcher(exclude)?;
                for path in paths {
                    encode_path(&mut to, tree, path, exclude.as_ref(), top)?;
                }
            }
        }
    }
    Ok(to.finish())
}

/// The matcher of `--exclude`; `None` without patterns.
pub(crate) fn exclude_matcher(patterns: &[String]) -> Result<Option<Matcher>, WorkError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let lines: Vec<Line> = patterns.iter().zip(1..).map(|(pattern, number)| Line { number, pattern: pattern.clone() }).collect();
    Matcher::new(&lines).map(Some).map_err(|source| WorkError::Ignore { file: "--exclude".to_owned(), source })
}

/// What `--exclude` leaves of a listing. A directory that is left out stays when something below it is kept.
pub(crate) fn without_excluded(listing: Listing, exclude: Option<&Matcher>) -> Listing {
    let Some(matcher) = exclude else { return listing };
    let mut states = std::collections::HashMap::new();
    let mut kept = vec![false; listing.len()];
    for (index, entry) in listing.iter().enumerate() {
        let parent = entry.path.parent().and_then(|parent| states.get(parent));
        let (excluded, _, state) = matcher.matches(&entry.path, parent);
        if entry.stat.kind == Kind::Dir {
            states.insert(entry.path.as_path(), state);
        }
        kept[index] = !excluded;
    }
    let mut needed = std::collections::HashSet::new();
    for (entry, kept) in listing.iter().zip(&kept) {
        if *kept {
            needed.extend(entry.path.ancestors().skip(1));
        }
    }
    let left = listing.iter().zip(&kept).filter(|(entry, kept)| **kept || needed.contains(entry.path.as_path()));
    std::sync::Arc::new(left.map(|(entry, _)| entry.clone()).collect())
}

fn encode_path(to: &mut Encoder, tree: &Tree, path: &CopyPath, exclude: Option<&Matcher>, top: Top) -> Result<(), WorkError> {
    if path.parents {
        let found = parents::find(tree, &path.path, path.wildcard, exclude)?;
        to.tag(3);
        to.u64(found.len() as u64);
        return found.iter().try_for_each(|kept| encode_kept(to, tree, kept));
    }
    let found = find(tree, &path.path, path.wildcard, path.follow)?;
    to.u64(found.len() as u64);
    for found in found {
        encode_match(to, tree, &found, exclude, top)?;
    }
    Ok(())
}

/// With `--parents`, names and metadata of the directories on the way are part of what is copied.
fn encode_kept(to: &mut Encoder, tree: &Tree, kept: &Kept) -> Result<(), WorkError> {
    let entries: Vec<WalkEntry> = kept.entries.iter().map(|kept| kept.entry.clone()).collect();
    let bodies = bodies(tree, &kept.base, &entries)?;
    to.u64(entries.len() as u64);
    for (entry, body) in entries.iter().zip(&bodies) {
        to.bytes(entry.path.as_os_str().as_bytes());
        encode_entry(to, &entry.stat, body);
    }
    Ok(())
}

fn encode_match(to: &mut Encoder, tree: &Tree, found: &Match, exclude: Option<&Matcher>, top: Top) -> Result<(), WorkError> {
    if found.stat.kind != Kind::Dir {
        to.tag(1);
        to.bytes(found.name.as_bytes());
        let parent = found.path.parent().unwrap_or(Path::new("/"));
        let path = found.path.file_name().map(Into::into).unwrap_or_default();
        let entry = WalkEntry { path, stat: found.stat.clone() };
        let bodies = bodies(tree, parent, std::slice::from_ref(&entry))?;
        encode_entry(to, &entry.stat, &bodies[0]);
        return Ok(());
    }
    to.tag(2);
    to.bool(top == Top::Shown);
    if top == Top::Shown {
        encode_entry(to, &found.stat, &body_of_directory(&tree.directory_xattrs(&found.path)?));
    }
    let entries = without_excluded(tree.list(&found.path)?, exclude);
    let bodies = bodies(tree, &found.path, &entries)?;
    to.u64(entries.len() as u64);
    for (entry, body) in entries.iter().zip(&bodies) {
        to.bytes(entry.path.as_os_str().as_bytes());
        encode_entry(to, &entry.stat, body);
    }
    Ok(())
}

fn encode_entry(to: &mut Encoder, stat: &Stat, body: &[u8; 32]) {
    let Stat { kind, mode, uid, gid, size, mtime: _, ctime: _, dev: _, ino: _, nlink: _, rdev } = stat;
    to.tag(match kind {
        Kind::File => 1,
        Kind::Dir => 2,
        Kind::Symlink => 3,
        Kind::CharDevice => 4,
        Kind::BlockDevice => 5,
        Kind::Fifo => 6,
        Kind::Socket => 7,
    });
    to.u32(if *kind == Kind::Symlink { 0o777 } else { *mode });
    to.u32(*uid);
    to.u32(*gid);
    to.u64(if *kind == Kind::File { *size } else { 0 });
    to.u64(if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { *rdev } else { 0 });
    to.digest(body);
}

fn bodies(tree: &Tree, base: &Path, entries: &[WalkEntry]) -> Result<Vec<[u8; 32]>, WorkError> {
    match tree {
        Tree::Context(context) => context.bodies(base, entries),
        Tree::Empty | Tree::Snapshot(_) | Tree::File(_) => {
            entries.par_iter().map(|entry| body(tree, &base.join(&entry.path), &entry.stat)).collect()
        }
    }
}

fn body(tree: &Tree, path: &Path, stat: &Stat) -> Result<[u8; 32], WorkError> {
    match stat.kind {
        Kind::File => {
            let opened = tree.open(path)?;
            body_of_file(&opened.file, &opened.xattrs).map_err(crate::tree::read_error(path))
        }
        Kind::Dir => Ok(body_of_directory(&tree.directory_xattrs(path)?)),
        Kind::Symlink => Ok(body_of_link(&tree.read_link(path)?)),
        Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Ok([0; 32]),
    }
}

/// Content and attributes of an open file, wherever its offset is.
pub(crate) fn body_of_file(file: &File, xattrs: &Xattrs) -> io::Result<[u8; 32]> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(CHUNK, 0);
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        loop {
            let read = match file.read_at(buffer, offset) {
                Ok(0) => return Ok(body_of_content(hasher.finalize().as_bytes(), xattrs)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&buffer[..read]);
            offset += read as u64;
        }
    })
}

thread_local! {
    /// Zeroing a fresh buffer would cost more than hashing a small file.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The same from a content that was hashed elsewhere.
pub(crate) fn body_of_content(content: &[u8; 32], xattrs: &Xattrs) -> [u8; 32] {
    let mut to = Encoder::new("rbuild.body.file.v1");
    to.digest(content);
    encode_xattrs(&mut to, xattrs);
    to.finish()
}

pub(crate) fn body_of_directory(xattrs: &Xattrs) -> [u8; 32] {
    let mut to = Encoder::new("rbuild.body.directory.v1");
    encode_xattrs(&mut to, xattrs);
    to.finish()
}

pub(crate) fn body_of_link(target: &Path) -> [u8; 32] {
    let mut to = Encoder::new("rbuild.body.link.v1");
    to.bytes(target.as_os_str().as_bytes());
    to.finish()
}

fn encode_xattrs(to: &mut Encoder, xattrs: &Xattrs) {
    to.list(xattrs, |to, (name, value)| {
        to.bytes(name);
        to.bytes(value);
    });
}
