//! Applying a layer's tar, which may come from anybody.
//!
//! Entries are applied in the order of the tar; the last one of a name wins. Deletions (`.wh.NAME`, `.wh..wh..opq`) hide only what the parents
//! have, wherever in the tar they stand. The directory of an entry is resolved in the state as it is by then, through symbolic links,
//! also those of lower layers, as a chroot would; `..` and absolute names end at the root. Directories that nobody describes are
//! root's, 0755, from 1970; those of the parents keep their metadata. The root directory's own entry is ignored, as in containerd.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rbuild_fs::archive::{EntryKind, Header, TarReader};
use rbuild_fs::{Kind, Stat, place};

use crate::error::{Result, SnapshotError, errno, on};
use crate::inode::{self, Origin};
use crate::layer::WHITEOUT_PREFIX;
use crate::writer::{Dir, SnapshotWriter, fill};
use crate::{Attrs, at, xattrs};

const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// Names of aufs's own files, which mean nothing to others.
const META_PREFIX: &[u8] = b".wh..wh.";

/// Directories that are known by name, and so kept open.
const PLACES: usize = 32;
/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;

/// Applies a tar on what `writer` writes, and reads the stream to its end. `on_parent`: the state has a parent.
pub(crate) fn apply(writer: &SnapshotWriter, on_parent: bool, tar: &mut dyn Read) -> Result<()> {
    let mut reader = TarReader::new(BufReader::with_capacity(BUFFER, tar));
    let whole = writer.dirs.flavour().is_none();
    let mut layer = Layer {
        writer,
        places: HashMap::new(),
        times: HashMap::new(),
        written: (whole && on_parent).then(HashSet::new),
        copied_targets: HashSet::new(),
    };
    while let Some(header) = reader.next_entry().map_err(SnapshotError::Archive)? {
        layer
            .entry(&header, reader.body())
            .map_err(|source| SnapshotError::Entry { entry: header.path.clone(), source: Box::new(source) })?;
    }
    layer.restore_times()?;
    reader.finish().map(drop).map_err(SnapshotError::Archive)
}

struct Layer<'a> {
    writer: &'a SnapshotWriter,
    /// Directories by their names in the tar.
    places: HashMap<OsString, Arc<Dir>>,
    /// What each touched directory's time will be in the end.
    times: HashMap<PathBuf, (i64, u32)>,
    /// In a whole tree over a parent's copy: what this layer wrote, with its directories. (An upper directory has nothing else anyway.)
    written: Option<HashSet<PathBuf>>,
    /// Files of the parents that are here only because something was linked to them.
    copied_targets: HashSet<PathBuf>,
}

impl Layer<'_> {
    fn entry(&mut self, header: &Header, body: &mut dyn Read) -> Result<()> {
        let path = clean(&header.path);
        let Some(name) = path.file_name() else { return Ok(()) };
        let above = path.parent().unwrap_or(Path::new(""));
        let bytes = name.as_bytes();
        if let Some(first) = path.components().next()
            && path.components().nth(1).is_some()
            && first.as_os_str().as_bytes().starts_with(META_PREFIX)
        {
            return Ok(());
        }
        if above.iter().any(|component| component.as_bytes().starts_with(WHITEOUT_PREFIX)) {
            return Err(SnapshotError::Reserved(path));
        }
        match bytes.strip_prefix(WHITEOUT_PREFIX) {
            Some(_) if bytes == OPAQUE_MARKER => self.opaque(above).map_err(on("hide the parents' entries of", above)),
            Some(_) if bytes.starts_with(META_PREFIX) => Ok(()),
            Some(b"" | b"." | b"..") => Err(SnapshotError::Reserved(path)),
            Some(hidden) => {
                self.whiteout(above, OsStr::from_bytes(hidden)).map_err(on("delete", &above.join(OsStr::from_bytes(hidden))))
            }
            None => self.put(&path, above, name, header, body),
        }
    }

    fn put(&mut self, path: &Path, above: &Path, name: &OsStr, header: &Header, body: &mut dyn Read) -> Result<()> {
        let dir = self.directory(above).map_err(on("find the directory of", path))?;
        let target = dir.path.join(name);
        self.note_written(&target);
        let attrs = Attrs {
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            mtime: Some(header.mtime),
            xattrs: header.xattrs.clone(),
        };
        match header.kind {
            EntryKind::Dir => self.put_dir(&dir, name, &target, attrs).map_err(on("make the directory", path)),
            EntryKind::File => self.put_file(&dir, name, header.size, body, &attrs).map_err(on("write", path)),
            EntryKind::HardLink => {
                let from = header.link.as_deref().unwrap_or(Path::new(""));
                self.put_link(&dir, name, &target, from).map_err(on("link to", from))
            }
            EntryKind::Symlink => {
                let says = header.link.as_deref().unwrap_or(Path::new(""));
                let made = self.replace(&dir, name, |dir, name| place::make_symlink(dir, name, says));
                made.and_then(|()| inode::finish_at(dir.made(), name, Kind::Symlink, &attrs, Origin::Outside))
                    .map_err(on("make the link", path))
            }
            EntryKind::CharDevice if header.rdev == (0, 0) => Err(SnapshotError::WhiteoutDevice(path.to_path_buf())),
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                let kind = node_kind(header.kind);
                let rdev = rustix::fs::makedev(header.rdev.0, header.rdev.1);
                let made = self.replace(&dir, name, |dir, name| place::make_node(dir, name, kind, rdev));
                made.and_then(|()| inode::finish_at(dir.made(), name, kind, &attrs, Origin::Outside))
                    .map_err(on("make the node", path))
            }
        }
    }

    fn put_file(&mut self, dir: &Dir, name: &OsStr, size: u64, body: &mut dyn Read, attrs: &Attrs) -> io::Result<()> {
        let file = self.replace(dir, name, |dir, name| place::create_file(dir, name))?;
        if fill(file.as_fd(), body, size)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inode::finish(file.as_fd(), attrs, Origin::Outside)
    }

    /// A directory that exists gets the attributes; anything else gives way.
    fn put_dir(&mut self, dir: &Dir, name: &OsStr, target: &Path, attrs: Attrs) -> io::Result<()> {
        let time = attrs.mtime;
        if self.writer.dirs.entry(dir, name)?.is_some_and(|found| found.stat().kind != Kind::Dir) {
            self.clear(target)?;
        }
        self.writer.make_dir_at(target, &attrs)?;
        self.times.extend(time.map(|time| (target.to_path_buf(), time)));
        Ok(())
    }

    fn put_link(&mut self, dir: &Dir, name: &OsStr, target: &Path, from: &Path) -> io::Result<()> {
        let from = clean(from);
        let from_name = from.file_name().ok_or_else(|| errno(libc::EPERM))?;
        let from_dir = self.writer.resolve_relative(from.parent().unwrap_or(Path::new("")), true)?;
        let from = from_dir.join(from_name);
        if from == target {
            // A link to itself: what is there stays.
            return self.writer.owned(&from).map(drop);
        }
        self.touch_existing(&from_dir)?;
        let was_below = self.writer.dirs.lookup(&from_dir)?.and_then(|dir| dir.upper().map(|upper| at::stat(upper, from_name)));
        let (linked_dir, stat) = self.writer.owned(&from)?;
        if stat.kind == Kind::Dir {
            return Err(errno(libc::EPERM));
        }
        if !matches!(was_below, Some(Ok(Some(_)))) {
            self.copied_targets.insert(from.clone());
        }
        self.replace(dir, name, |dir, name| place::make_hard_link(linked_dir.made(), from_name, dir, name))?;
        self.writer.note_linked(stat.ino);
        Ok(())
    }

    /// Makes something that is not a directory, in place of whatever is there.
    fn replace<T>(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        make: impl Fn(std::os::fd::BorrowedFd<'_>, &OsStr) -> io::Result<T>,
    ) -> io::Result<T> {
        let (made, before) = match self.writer.place(dir, name, &make) {
            Err(error) if error.raw_os_error() == Some(libc::EISDIR) => {
                self.clear(&dir.path.join(name))?;
                self.writer.place(dir, name, &make)?
            }
            done => done?,
        };
        if matches!(before, Some(Kind::Symlink | Kind::Dir)) {
            self.forget(&dir.path.join(name));
        }
        Ok(made)
    }

    /// Removes what is there, to be replaced.
    fn clear(&mut self, path: &Path) -> io::Result<()> {
        self.writer.remove_at(path)?;
        self.forget(path);
        Ok(())
    }

    /// Whatever was known of paths through `path` may be wrong now.
    fn forget(&mut self, path: &Path) {
        self.places.clear();
        self.times.retain(|known, _| !known.starts_with(path));
        self.copied_targets.retain(|known| !known.starts_with(path));
        self.writer.dirs.forget(path);
    }

    /// The writable directory that a name in the tar means, with what is missing on the way.
    fn directory(&mut self, path: &Path) -> io::Result<Arc<Dir>> {
        let mut unknown: Vec<&Path> = Vec::new();
        let mut dir = None;
        for ancestor in path.ancestors() {
            if let Some(known) = (unknown.len() < PLACES).then(|| self.places.get(ancestor.as_os_str())).flatten() {
                dir = Some(Arc::clone(known));
                break;
            }
            unknown.push(ancestor);
        }
        while let Some(path) = unknown.pop() {
            let found = match (&dir, path.file_name()) {
                (Some(above), Some(name)) => self.directory_in(&Arc::clone(above), name)?,
                _ => self.touch_existing(Path::new(""))?,
            };
            if unknown.len() < PLACES {
                self.remember(path, &found);
            }
            dir = Some(found);
        }
        dir.ok_or_else(|| errno(libc::ENOENT))
    }

    fn remember(&mut self, path: &Path, dir: &Arc<Dir>) {
        if self.places.len() >= PLACES {
            self.places.clear();
        }
        self.places.insert(path.as_os_str().to_os_string(), Arc::clone(dir));
    }

    fn directory_in(&mut self, above: &Dir, name: &OsStr) -> io::Result<Arc<Dir>> {
        let path = above.path.join(name);
        match self.writer.dirs.entry(above, name)?.map(|found| found.stat().kind) {
            None => self.imply(&path),
            Some(Kind::Dir) => self.touch_existing(&path),
            Some(Kind::Symlink) => self.directory_behind(&path),
            Some(Kind::File | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket) => Err(errno(libc::ENOTDIR)),
        }
    }

    /// A link may lead to what does not exist yet.
    fn directory_behind(&mut self, link: &Path) -> io::Result<Arc<Dir>> {
        let resolved = self.writer.resolve_relative(link, true)?;
        let mut missing = Vec::new();
        for ancestor in resolved.ancestors() {
            match self.writer.dirs.lookup(ancestor)? {
                Some(_) => break,
                None => missing.push(ancestor),
            }
        }
        while let Some(implied) = missing.pop() {
            self.imply(implied)?;
        }
        self.touch_existing(&resolved)
    }

    /// Makes a directory that nobody describes.
    fn imply(&mut self, path: &Path) -> io::Result<Arc<Dir>> {
        self.touch_existing(path.parent().unwrap_or(Path::new("")))?;
        let attrs = Attrs { mode: 0o755, uid: 0, gid: 0, mtime: Some((0, 0)), xattrs: Vec::new() };
        self.writer.make_dir_at(path, &attrs)?;
        self.note_written(path);
        self.touch_existing(path)
    }

    /// Notes a directory's time before anything in it changes.
    fn touch_existing(&mut self, path: &Path) -> io::Result<Arc<Dir>> {
        let dir = self.writer.dirs.writable(path)?;
        if !self.times.contains_key(path) {
            self.times.insert(path.to_path_buf(), Stat::of(dir.made())?.mtime);
        }
        Ok(dir)
    }

    fn note_written(&mut self, path: &Path) {
        self.copied_targets.remove(path);
        let Some(written) = &mut self.written else { return };
        for ancestor in path.ancestors() {
            if !written.insert(ancestor.to_path_buf()) {
                break;
            }
        }
    }

    /// Hides what the parents have at a name; what this layer wrote there stays.
    fn whiteout(&mut self, above: &Path, name: &OsStr) -> io::Result<()> {
        // Where there is no directory, there is nothing to hide.
        let resolved = self.writer.resolve_relative(above, true)?;
        match self.writer.dirs.lookup(&resolved) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => return Ok(()),
            Err(error) => return Err(error),
        }
        let dir = self.directory(above)?;
        let target = dir.path.join(name);
        if let Some(flavour) = self.writer.dirs.flavour() {
            return self.hide_lower(&dir, name, &target, flavour);
        }
        self.remove_inherited(&target)
    }

    /// In an upper directory, everything is this layer's own.
    fn hide_lower(&mut self, dir: &Dir, name: &OsStr, target: &Path, flavour: xattrs::Flavour) -> io::Result<()> {
        if dir.below(name)?.is_none() {
            return Ok(());
        }
        match at::stat(dir.made(), name)? {
            None => inode::create_whiteout(dir.made(), name)?,
            Some(stat) if stat.kind == Kind::Dir => xattrs::set_opaque(place::open_dir(dir.made(), name)?.as_fd(), flavour)?,
            Some(_) if self.copied_targets.contains(target) => {
                place::unlink(dir.made(), name)?;
                inode::create_whiteout(dir.made(), name)?;
            }
            Some(_) => return Ok(()),
        }
        self.drop_copied_targets(target)?;
        self.places.clear();
        self.writer.dirs.forget(target);
        Ok(())
    }

    /// Hides all that the parents have in a directory.
    fn opaque(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.directory(path)?;
        let Some(flavour) = self.writer.dirs.flavour() else { return self.remove_inherited_below(&dir.path.clone()) };
        if dir.lower().is_some() && !dir.path.as_os_str().is_empty() {
            xattrs::set_opaque(dir.made(), flavour)?;
            self.drop_copied_targets(&dir.path)?;
            self.places.clear();
            self.writer.dirs.forget(&dir.path);
        } else if dir.lower().is_some() {
            // Overlay ignores the mark on its root: hide the entries one by one.
            for name in self.lower_names(&dir)? {
                self.hide_lower(&dir, &name, Path::new(&name), flavour)?;
            }
        }
        Ok(())
    }

    fn lower_names(&self, dir: &Dir) -> io::Result<Vec<OsString>> {
        let Some(lower) = dir.lower() else { return Ok(Vec::new()) };
        let readable = at::open_beneath(lower, Path::new(""))?;
        Ok(rbuild_fs::list_dir(readable.as_fd())?.into_iter().map(|entry| entry.name).collect())
    }

    fn drop_copied_targets(&mut self, below: &Path) -> io::Result<()> {
        let hidden: Vec<PathBuf> =
            self.copied_targets.iter().filter(|path| path.starts_with(below) && *path != below).cloned().collect();
        for path in hidden {
            self.writer.remove_at(&path)?;
            self.copied_targets.remove(&path);
        }
        Ok(())
    }

    /// In a copied tree: removes what is at `path` but for what this layer wrote.
    fn remove_inherited(&mut self, path: &Path) -> io::Result<()> {
        let Some(written) = &self.written else { return Ok(()) };
        if !written.contains(path) {
            self.writer.remove_at(path)?;
            self.forget(path);
            return Ok(());
        }
        match self.writer.dirs.lookup(path) {
            Ok(Some(_)) => self.remove_inherited_below(path),
            Ok(None) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove_inherited_below(&mut self, path: &Path) -> io::Result<()> {
        let mut dirs = vec![path.to_path_buf()];
        while let Some(path) = dirs.pop() {
            let Some(written) = &self.written else { return Ok(()) };
            let dir = self.writer.dirs.writable(&path)?;
            let (kept, inherited): (Vec<_>, Vec<_>) =
                rbuild_fs::list_dir(dir.made())?.into_iter().partition(|entry| written.contains(&path.join(&entry.name)));
            self.touch_existing(&path)?;
            for entry in inherited {
                self.writer.remove_at(&path.join(&entry.name))?;
                self.forget(&path.join(&entry.name));
            }
            dirs.extend(kept.into_iter().filter(|entry| entry.kind == Kind::Dir).map(|entry| path.join(&entry.name)));
        }
        Ok(())
    }

    fn restore_times(&self) -> Result<()> {
        // In this order, a directory's parent was looked up shortly before.
        let mut times: Vec<_> = self.times.iter().collect();
        times.sort_unstable();
        for (path, time) in times {
            let dir = self.writer.dirs.lookup(path).map_err(on("find the directory", path))?;
            if let Some(upper) = dir.as_ref().and_then(|dir| dir.upper()) {
                inode::set_mtime(upper, *time).map_err(on("set the times of", path))?;
            }
        }
        Ok(())
    }
}

fn node_kind(kind: EntryKind) -> Kind {
    match kind {
        EntryKind::CharDevice => Kind::CharDevice,
        EntryKind::BlockDevice => Kind::BlockDevice,
        EntryKind::Fifo => Kind::Fifo,
        EntryKind::File | EntryKind::HardLink => Kind::File,
        EntryKind::Dir => Kind::Dir,
        EntryKind::Symlink => Kind::Symlink,
    }
}

/// A name of the tar as a path beneath the root: `..` goes up one at most to the root.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
