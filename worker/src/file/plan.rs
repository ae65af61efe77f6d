//! What a copy will write, with the rules of what may replace what; then the writing itself, in parallel.
//!
//! Order of writing: directories (parents first), then everything else at once, then further names of hard-linked files, then the
//! directories' times, which the writing changed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rbuild_fs::{Kind, Stat};
use rbuild_snapshotter::{Attrs, EntryKind, SnapshotError};

use super::ActionStep;
use super::chmod::ModeChange;
use super::make::failed;
use super::parallel::for_each;
use crate::WorkError;
use crate::content::body_of_content;
use crate::context::ContextTree;
use crate::error::os_error;
use crate::memo::Identity;
use crate::tree::{Opened, Tree, Xattrs, read_error};

/// How owners and modes change on the way.
pub(super) struct Change {
    /// `None` keeps the source's.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: ModeChange,
}

/// What will be written.
pub(super) struct Plan<'a> {
    tree: &'a Tree,
    change: &'a Change,
    items: Vec<Item>,
    by_target: HashMap<OsString, usize>,
    /// Directories that are copied into, and the time they get.
    tops: Vec<(PathBuf, (i64, u32))>,
}

struct Item {
    source: PathBuf,
    target: PathBuf,
    stat: Stat,
}

impl<'a> Plan<'a> {
    pub(super) fn new(tree: &'a Tree, change: &'a Change) -> Plan<'a> {
        Plan { tree, change, items: Vec::new(), by_target: HashMap::new(), tops: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.tops.is_empty()
    }

    /// Adds one path; a later one replaces an earlier one of the same kind.
    pub(super) fn add(&mut self, source: PathBuf, target: PathBuf, stat: Stat) -> Result<(), WorkError> {
        let key = target.as_os_str().to_owned();
        let item = Item { source, target, stat };
        if let Some(index) = self.by_target.get(&key) {
            let earlier = &mut self.items[*index];
            match (earlier.stat.kind == Kind::Dir, item.stat.kind == Kind::Dir) {
                (true, false) => return Err(WorkError::ReplaceDirectory(item.target)),
                (false, true) => return Err(WorkError::NonDirectory(item.target)),
                (true, true) | (false, false) => *earlier = item,
            }
            return Ok(());
        }
        self.by_target.insert(key, self.items.len());
        self.items.push(item);
        Ok(())
    }

    /// Whether this very source goes there already.
    pub(super) fn has(&self, source: &Path, target: &Path) -> bool {
        self.by_target.get(target.as_os_str()).is_some_and(|index| self.items[*index].source == source)
    }

    /// Says that the content of a directory goes to `target`, which exists: it gets the directory's time and nothing else (spec G-42).
    pub(super) fn add_top(&mut self, target: PathBuf, time: (i64, u32)) {
        self.tops.push((target, time));
    }

    /// Writes all of it.
    pub(super) fn run(self, at: &ActionStep<'_>) -> Result<(), WorkError> {
        let (directories, others): (Vec<&Item>, Vec<&Item>) = self.items.iter().partition(|item| item.stat.kind == Kind::Dir);
        for directory in &directories {
            self.make_directory(at, directory)?;
        }
        let mut first_names: HashMap<(u64, u64), &Item> = HashMap::new();
        let mut links: Vec<(&Item, &Item)> = Vec::new();
        let mut files: Vec<&Item> = Vec::with_capacity(others.len());
        for item in others {
            if item.stat.kind == Kind::File && item.stat.nlink > 1 {
                let first = first_names.entry((item.stat.dev, item.stat.ino)).or_insert(item);
                if !std::ptr::eq(*first, item) {
                    links.push((item, first));
                    continue;
                }
            }
            files.push(item);
        }
        for_each(&files, at.cancel, |item| self.write(at, item))?;
        for_each(&links, at.cancel, |(item, first)| {
            at.writer.hard_link(&item.target, &first.target).map_err(refused("link", &item.target))
        })?;
        let nested = directories.iter().map(|item| (item.target.as_path(), item.stat.mtime));
        let times: Vec<(&Path, (i64, u32))> =
            self.tops.iter().map(|(path, time)| (path.as_path(), *time)).chain(nested).collect();
        for_each(&times, at.cancel, |(path, time)| at.writer.set_times(path, *time).map_err(failed("set the time of", path)))
    }

    fn make_directory(&self, at: &ActionStep<'_>, item: &Item) -> Result<(), WorkError> {
        let xattrs = self.tree.directory_xattrs(&item.source)?;
        let attrs = Attrs { mtime: None, ..self.attrs(&item.stat, xattrs) };
        at.writer.make_dir(&item.target, &attrs).map_err(|source| match os_error(&source) {
            Some(libc::EEXIST | libc::ENOTDIR | libc::ELOOP) => WorkError::NonDirectory(item.target.clone()),
            Some(_) | None => failed("make directory", &item.target)(source),
        })
    }

    fn write(&self, at: &ActionStep<'_>, item: &Item) -> Result<(), WorkError> {
        let kind = match item.stat.kind {
            Kind::File => return self.write_file(at, item),
            Kind::Symlink => {
                let target = self.tree.read_link(&item.source)?;
                let attrs = self.attrs(&item.stat, Vec::new());
                return at.writer.symlink(&item.target, &target, &attrs).map_err(refused("make link", &item.target));
            }
            Kind::Dir => return Err(WorkError::Internal("a directory among files".to_owned())),
            Kind::CharDevice => EntryKind::CharDevice,
            Kind::BlockDevice => EntryKind::BlockDevice,
            Kind::Fifo => EntryKind::Fifo,
            Kind::Socket => EntryKind::Socket,
        };
        let attrs = self.attrs(&item.stat, Vec::new());
        at.writer.make_node(&item.target, kind, item.stat.rdev, &attrs).map_err(refused("make node", &item.target))
    }

    fn write_file(&self, at: &ActionStep<'_>, item: &Item) -> Result<(), WorkError> {
        let Opened { file, xattrs } = self.tree.open(&item.source)?;
        match self.tree {
            Tree::Context(context) => self.write_from_context(at, item, context, &file, xattrs),
            Tree::Empty | Tree::Snapshot(_) | Tree::File(_) => {
                let attrs = self.attrs(&item.stat, xattrs);
                at.writer.copy_file(&item.target, file.as_fd(), item.stat.size, &attrs).map_err(refused("copy to", &item.target))
            }
        }
    }

    /// A context may change while it is read. What was hashed for a key must be what is written: where the status cannot prove it, the
    /// bytes are hashed again on their way.
    fn write_from_context(
        &self,
        at: &ActionStep<'_>,
        item: &Item,
        context: &ContextTree,
        file: &std::fs::File,
        xattrs: Xattrs,
    ) -> Result<(), WorkError> {
        let changed = || WorkError::Changed(item.source.clone());
        let known = context.body(&item.stat);
        let before = Stat::of(file.as_fd()).map_err(read_error(&item.source))?;
        let same = Identity::of(&before) == Identity::of(&item.stat);
        let attrs = self.attrs(&item.stat, xattrs);
        match known {
            Some(body) if body.racy || !same => {
                let mut reader = HashingReader { file, offset: 0, hasher: blake3::Hasher::new() };
                at.writer
                    .write_file(&item.target, &mut reader, before.size, &attrs)
                    .map_err(|error| short(error, changed, &item.target))?;
                if body_of_content(reader.hasher.finalize().as_bytes(), &attrs.xattrs) != body.digest {
                    return Err(changed());
                }
            }
            Some(_) | None => {
                let copied = at.writer.copy_file(&item.target, file.as_fd(), before.size, &attrs);
                copied.map_err(|error| short(error, changed, &item.target))?;
                let after = Stat::of(file.as_fd()).map_err(read_error(&item.source))?;
                if Identity::of(&after) != Identity::of(&before) {
                    return Err(changed());
                }
            }
        }
        Ok(())
    }

    fn attrs(&self, stat: &Stat, xattrs: Xattrs) -> Attrs {
        let (uid, gid) = self.change.owner.unwrap_or((stat.uid, stat.gid));
        Attrs { mode: self.change.mode.apply(stat.mode, stat.kind), uid, gid, mtime: Some(stat.mtime), xattrs }
    }
}

struct HashingReader<'a> {
    file: &'a std::fs::File,
    offset: u64,
    hasher: blake3::Hasher,
}

impl Read for HashingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.hasher.update(&buffer[..read]);
        self.offset += read as u64;
        Ok(read)
    }
}

/// A file that became shorter while it was copied has changed.
fn short(error: SnapshotError, changed: impl Fn() -> WorkError, target: &Path) -> WorkError {
    if matches!(error, SnapshotError::Short { .. }) { changed() } else { refused("copy to", target)(error) }
}

/// The rules of replacing (spec G-40), for what stands in the way on disk.
fn refused(action: &'static str, target: &Path) -> impl FnOnce(SnapshotError) -> WorkError {
    let target = target.to_owned();
    move |source| match os_error(&source) {
        Some(libc::EISDIR) => WorkError::ReplaceDirectory(target),
        Some(libc::ENOTDIR | libc::ELOOP) => WorkError::NonDirectory(target),
        Some(_) | None => failed(action, &target)(source),
    }
}
