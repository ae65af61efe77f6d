//! `type=local`: the tree of a snapshot as files of a directory.
//!
//! - Directories first, in order, each opened beneath the destination without following links.
//! - Then files, by several threads: where there is one already, the new one is written beside it and renamed over it.
//! - Then links, devices and further names of files; at last the directories' own attributes, deepest first.
//!
//! What is in the destination and not in the tree stays.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rbuild_fs::place::{self, Meta, Rename};
use rbuild_fs::{DirCache, Enter, Kind, Root, Stat, WalkEntry, copy_contents, remove_tree, walk, xattr};
use rbuild_snapshotter::{Snapshot, Snapshotter};

use crate::error::{AtPath, Result};
use crate::import::content_of;
use crate::queue::{WIDTH, in_parallel};

/// Writes the tree of a snapshot (`None`: nothing) into a directory, which is made if needed. Mode, owner, times, attributes, hard
/// links and devices are kept; without the privilege for it, owners are the caller's. Existing files are replaced, links in the
/// destination never followed. With an epoch all times are exactly that.
///
/// # Errors
/// When something cannot be read or written; what was written before stays.
pub fn write_local(snapshotter: &Snapshotter, snapshot: Option<&Snapshot>, to: &Path, epoch: Option<i64>) -> Result<()> {
    fs_err::create_dir_all(to).at("create", to)?;
    let Some(snapshot) = snapshot else { return Ok(()) };
    let view = snapshotter.driver().view(snapshot)?;
    let skip_sockets = |_: &Path, stat: &Stat| if stat.kind == Kind::Socket { Enter::Skip } else { Enter::Yes };
    let entries = walk(view.root(), Path::new(""), &skip_sockets).at("list the tree for", to)?;
    let destination = Root::open(to).at("open", to)?;
    let writer = Writer {
        from: view.root(),
        to: destination.open_dir(Path::new("")).at("open", to)?,
        name: to,
        epoch,
        random: format!(".{}", &snapshotter.session().new_snapshot_id().0[..16]),
    };
    writer.write(&entries)
}

struct Writer<'a> {
    from: &'a Root,
    to: OwnedFd,
    name: &'a Path,
    epoch: Option<i64>,
    /// Of names that are not final.
    random: String,
}

impl Writer<'_> {
    fn write(&self, entries: &[WalkEntry]) -> Result<()> {
        let (files, others) = self.sort(entries);
        let mut directories = self.cache()?;
        for entry in entries.iter().filter(|entry| entry.stat.kind == Kind::Dir) {
            self.make_directory(&mut directories, &entry.path).at("make the directory", &self.full(entry))?;
        }
        let share = files.len().div_ceil(*WIDTH * 4).max(64);
        let shares: Vec<&[&WalkEntry]> = files.chunks(share).collect();
        in_parallel(&shares, |share| self.write_files(share))?;
        for (entry, first) in others {
            self.write_other(&mut directories, entry, first).at("write", &self.full(entry))?;
        }
        for entry in entries.iter().rev().filter(|entry| entry.stat.kind == Kind::Dir) {
            self.finish_directory(&mut directories, entry).at("set the attributes of", &self.full(entry))?;
        }
        Ok(())
    }

    /// The files, once each; and, in order, everything else but directories, with the first name of what has one already.
    #[allow(clippy::type_complexity, reason = "two lists of borrowed entries")]
    fn sort<'e>(&self, entries: &'e [WalkEntry]) -> (Vec<&'e WalkEntry>, Vec<(&'e WalkEntry, Option<&'e Path>)>) {
        let mut first: HashMap<(u64, u64), &Path> = HashMap::new();
        let (mut files, mut others) = (Vec::new(), Vec::new());
        for entry in entries.iter().filter(|entry| entry.stat.kind != Kind::Dir) {
            let linked = entry.stat.nlink > 1;
            let known = if linked { first.get(&(entry.stat.dev, entry.stat.ino)).copied() } else { None };
            if linked && known.is_none() {
                first.insert((entry.stat.dev, entry.stat.ino), &entry.path);
            }
            if entry.stat.kind == Kind::File && known.is_none() {
                files.push(entry);
            } else {
                others.push((entry, known));
            }
        }
        (files, others)
    }

    fn cache(&self) -> Result<DirCache> {
        Ok(DirCache::new(self.to.try_clone().at("open", self.name)?))
    }

    fn full(&self, entry: &WalkEntry) -> PathBuf {
        self.name.join(&entry.path)
    }

    fn make_directory(&self, directories: &mut DirCache, path: &Path) -> io::Result<()> {
        let (parent, name) = directories.parent(path)?;
        match place::make_dir(&parent, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
        if Stat::at(parent.as_fd(), name)?.kind == Kind::Dir {
            return Ok(());
        }
        remove_tree(&parent, name)?;
        place::make_dir(&parent, name)
    }

    fn write_files(&self, files: &[&WalkEntry]) -> Result<()> {
        let mut directories = self.cache()?;
        let mut sources = DirCache::new(self.from.open_dir(Path::new("")).at("open the tree for", self.name)?);
        for entry in files {
            self.write_file(&mut sources, &mut directories, entry).at("write", &self.full(entry))?;
        }
        Ok(())
    }

    fn write_file(&self, sources: &mut DirCache, directories: &mut DirCache, entry: &WalkEntry) -> io::Result<()> {
        let (parent, name) = directories.parent(&entry.path)?;
        let (source, source_name) = sources.parent(&entry.path)?;
        let from = place::open_file(&source, source_name)?;
        match place::create_file(&parent, name) {
            Ok(to) => or_unlink(&parent, name, self.fill(&from, &to, &entry.stat)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let temporary = &unique(OsStr::new(&self.random), entry.stat.ino);
                let to = place::create_file(&parent, temporary)?;
                let filled = self.fill(&from, &to, &entry.stat).and_then(|()| replace(&parent, temporary, name));
                or_unlink(&parent, temporary, filled)
            }
            Err(error) => Err(error),
        }
    }

    fn fill(&self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> io::Result<()> {
        if copy_contents(from.as_fd(), to.as_fd(), stat.size)? != stat.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.apply(to, &content_of(from)?, stat)
    }

    fn write_other(&self, directories: &mut DirCache, entry: &WalkEntry, first: Option<&Path>) -> io::Result<()> {
        let temporary = &unique(OsStr::new(&self.random), entry.stat.ino);
        let linked = first.map(|first| directories.parent(first)).transpose()?;
        let (parent, name) = directories.parent(&entry.path)?;
        if let Some((first_parent, first_name)) = linked {
            place::make_hard_link(&first_parent, first_name, &parent, temporary)?;
            // Two names of one inode: rename(2) then does nothing, so the old name goes first.
            remove_tree(&parent, name)?;
            return replace(&parent, temporary, name);
        }
        match entry.stat.kind {
            Kind::Symlink => place::make_symlink(&parent, temporary, &self.from.read_link(&entry.path)?)?,
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                place::make_node(&parent, temporary, entry.stat.kind, entry.stat.rdev)?;
            }
            Kind::File | Kind::Dir | Kind::Socket => return Ok(()),
        }
        let done = self.apply_at(&parent, temporary, &entry.stat).and_then(|()| replace(&parent, temporary, name));
        or_unlink(&parent, temporary, done)
    }

    fn finish_directory(&self, directories: &mut DirCache, entry: &WalkEntry) -> io::Result<()> {
        let attributes = content_of(self.from.open_dir(&entry.path)?)?;
        let to = directories.dir(&entry.path)?;
        self.apply(&to, &attributes, &entry.stat)
    }

    fn times(&self, stat: &Stat) -> (i64, u32) {
        self.epoch.map_or(stat.mtime, |epoch| (epoch, 0))
    }

    /// Owners need privilege, and file systems need not have attributes: without them the rest is still worth having.
    fn apply(&self, to: impl AsFd, attributes: &[xattr::Xattr], stat: &Stat) -> io::Result<()> {
        let mut meta = Meta { mode: stat.mode, uid: stat.uid, gid: stat.gid, mtime: Some(self.times(stat)), xattrs: attributes };
        match place::apply(&to, &meta) {
            Err(error) if is_refused(&error) => {}
            done => return done,
        }
        let own = Stat::of(&to)?;
        (meta.xattrs, meta.uid, meta.gid) = (&[], own.uid, own.gid);
        place::apply(&to, &meta)
    }

    fn apply_at(&self, parent: &Arc<OwnedFd>, name: &OsStr, stat: &Stat) -> io::Result<()> {
        let mut meta = Meta { mode: stat.mode, uid: stat.uid, gid: stat.gid, mtime: Some(self.times(stat)), xattrs: &[] };
        match place::apply_at(parent, name, stat.kind, &meta) {
            Err(error) if is_refused(&error) => {}
            done => return done,
        }
        let own = Stat::at(parent.as_fd(), name)?;
        (meta.uid, meta.gid) = (own.uid, own.gid);
        place::apply_at(parent, name, stat.kind, &meta)
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported)
}

/// A name that no other entry being written has: entries of one inode are written one after the other.
fn unique(random: &OsStr, ino: u64) -> std::ffi::OsString {
    let mut name = random.to_owned();
    name.push(format!("-{ino:x}"));
    name
}

/// A name whose entry was not completed goes away.
fn or_unlink(parent: &Arc<OwnedFd>, name: &OsStr, done: io::Result<()>) -> io::Result<()> {
    if done.is_err() {
        drop(place::unlink(parent, name));
    }
    done
}

/// Renames over what is there, even over a directory with all that is in it, as docker does.
fn replace(parent: &Arc<OwnedFd>, temporary: &OsStr, name: &OsStr) -> io::Result<()> {
    match place::rename(parent, temporary, parent, name, Rename::Replace) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            remove_tree(parent, name)?;
            place::rename(parent, temporary, parent, name, Rename::Replace)
        }
        done => done,
    }
}
