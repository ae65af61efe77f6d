//! Making and changing entries.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rbuild_fs::{Kind, Stat, place};

use super::lookup::relative;
use super::{Attrs, Dir, EntryKind, Found, SnapshotWriter};
use crate::error::{Result, SnapshotError, errno, on};
use crate::inode::{self, Origin, Source};
use crate::{at, xattrs};

/// Bytes that are read and written at once.
const BUFFER: u64 = 128 * 1024;
/// How often a name that is taken again and again is cleared.
const ATTEMPTS: usize = 8;

impl SnapshotWriter {
    /// Makes a directory; one that exists gets the attributes. Anything else there is an error (EEXIST).
    pub fn make_dir(&self, path: &Path, attrs: &Attrs) -> Result<()> {
        let clean = relative(path).map_err(on("make the directory", path))?;
        self.make_dir_at(&clean, attrs).map(drop).map_err(on("make the directory", path))
    }

    /// Makes missing directories up to and including `path`, resolved already; existing ones are left as they are. Returns what was made.
    pub fn make_dirs(&self, path: &Path, attrs: &Attrs) -> Result<Vec<PathBuf>> {
        let clean = relative(path).map_err(on("make the directory", path))?;
        let mut missing = Vec::new();
        for ancestor in clean.ancestors() {
            match self.dirs.lookup(ancestor).map_err(on("make the directory", path))? {
                Some(_) => break,
                None => missing.push(ancestor),
            }
        }
        let mut made = Vec::new();
        for directory in missing.into_iter().rev() {
            self.make_dir_at(directory, attrs).map_err(on("make the directory", directory))?;
            made.push(Path::new("/").join(directory));
        }
        Ok(made)
    }

    /// A regular file from an open one (reflink, copy_file_range, read/write). Replaces what is there unless it is a directory (EISDIR).
    pub fn copy_file(&self, path: &Path, from: BorrowedFd<'_>, size: u64, attrs: &Attrs) -> Result<()> {
        let (dir, name) = self.parent(path, "write")?;
        let (file, _) = self.place(&dir, &name, |dir, name| place::create_file(dir, name)).map_err(on("create", path))?;
        let copied = rbuild_fs::copy_contents(from, file.as_fd(), size).map_err(on("write", path))?;
        self.finish_file(path, (&dir, &name), file, (copied, size), attrs)
    }

    /// A regular file from a stream of exactly `size` bytes. A shorter one is an error that says what came, and leaves nothing.
    pub fn write_file(&self, path: &Path, from: &mut dyn Read, size: u64, attrs: &Attrs) -> Result<()> {
        let (dir, name) = self.parent(path, "write")?;
        let (file, _) = self.place(&dir, &name, |dir, name| place::create_file(dir, name)).map_err(on("create", path))?;
        let copied = fill(file.as_fd(), from, size).map_err(on("write", path))?;
        self.finish_file(path, (&dir, &name), file, (copied, size), attrs)
    }

    fn finish_file(
        &self,
        path: &Path,
        (dir, name): (&Dir, &OsStr),
        file: OwnedFd,
        (actual, expected): (u64, u64),
        attrs: &Attrs,
    ) -> Result<()> {
        if actual != expected {
            place::unlink(dir.made(), name).map_err(on("remove", path))?;
            return Err(SnapshotError::Short { path: path.to_path_buf(), expected, actual });
        }
        inode::finish(file.as_fd(), attrs, Origin::Outside).map_err(on("set the attributes of", path))
    }

    /// A symbolic link that says `target`, taken as it is. Replaces as `copy_file` does.
    pub fn symlink(&self, path: &Path, target: &Path, attrs: &Attrs) -> Result<()> {
        let (dir, name) = self.parent(path, "make the link")?;
        self.place(&dir, &name, |dir, name| place::make_symlink(dir, name, target)).map_err(on("make the link", path))?;
        inode::finish_at(dir.made(), &name, Kind::Symlink, attrs, Origin::Outside).map_err(on("set the attributes of", path))
    }

    /// Device, fifo or socket. A 0:0 character device is refused (it would be a whiteout). Replaces as `copy_file` does.
    pub fn make_node(&self, path: &Path, kind: EntryKind, rdev: u64, attrs: &Attrs) -> Result<()> {
        if kind == Kind::CharDevice && rdev == 0 {
            return Err(SnapshotError::WhiteoutDevice(path.to_path_buf()));
        }
        let (dir, name) = self.parent(path, "make the node")?;
        self.place(&dir, &name, |dir, name| place::make_node(dir, name, kind, rdev)).map_err(on("make the node", path))?;
        inode::finish_at(dir.made(), &name, kind, attrs, Origin::Outside).map_err(on("set the attributes of", path))
    }

    /// Links to a path of the merged state; a target that lives in the parents is copied up first. A symbolic link is linked itself, a
    /// directory is EPERM. Replaces as `copy_file` does.
    pub fn hard_link(&self, path: &Path, target: &Path) -> Result<()> {
        let from = relative(target).map_err(on("link to", target))?;
        let name = from.file_name().ok_or_else(|| on("link to", target)(errno(libc::EPERM)))?;
        let (dir, link) = self.parent(path, "make the link")?;
        if dir.path.join(&link) != from && self.is_dir(&dir, &link).map_err(on("make the link", path))? {
            return Err(on("make the link", path)(errno(libc::EISDIR)));
        }
        let (target_dir, stat) = self.owned(&from).map_err(on("link to", target))?;
        if stat.kind == Kind::Dir {
            return Err(on("link to", target)(errno(libc::EPERM)));
        }
        if dir.path.join(&link) == from {
            return Ok(());
        }
        let made = self.place(&dir, &link, |dir, link| place::make_hard_link(target_dir.made(), name, dir, link));
        made.map_err(on("make the link", path))?;
        self.note_linked(stat.ino);
        Ok(())
    }

    fn is_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<bool> {
        Ok(self.dirs.entry(dir, name)?.is_some_and(|found| found.stat().kind == Kind::Dir))
    }

    /// An inode has several names because this state wants it.
    pub(crate) fn note_linked(&self, ino: u64) {
        if let Some(linked) = &self.linked {
            linked.lock().unwrap_or_else(PoisonError::into_inner).insert(ino);
        }
    }

    /// Sets attributes of what exists (copying it up). Extended attributes are added to those it has.
    pub fn set_attrs(&self, path: &Path, attrs: &Attrs) -> Result<()> {
        self.set_attrs_at(path, attrs).map_err(on("set the attributes of", path))
    }

    fn set_attrs_at(&self, path: &Path, attrs: &Attrs) -> io::Result<()> {
        let clean = relative(path)?;
        let Some(name) = clean.file_name() else {
            return inode::finish(self.dirs.writable(&clean)?.made(), attrs, Origin::Outside);
        };
        let (dir, stat) = self.owned(&clean)?;
        match stat.kind {
            Kind::Dir => inode::finish(self.dirs.writable(&clean)?.made(), attrs, Origin::Outside),
            kind @ (Kind::File | Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket) => {
                inode::finish_at(dir.made(), name, kind, attrs, Origin::Outside)
            }
        }
    }

    /// Sets the modification time of what exists (copying it up); a symbolic link's own.
    pub fn set_times(&self, path: &Path, mtime: (i64, u32)) -> Result<()> {
        self.set_times_at(path, mtime).map_err(on("set the times of", path))
    }

    fn set_times_at(&self, path: &Path, mtime: (i64, u32)) -> io::Result<()> {
        let clean = relative(path)?;
        let Some(name) = clean.file_name() else {
            return inode::set_mtime(self.dirs.writable(&clean)?.made(), mtime);
        };
        let (dir, _) = self.owned(&clean)?;
        place::set_times(dir.made(), name, mtime)
    }

    /// The writable directory and the last component of a path.
    fn parent(&self, path: &Path, step: &'static str) -> Result<(Arc<Dir>, std::ffi::OsString)> {
        let clean = relative(path).map_err(on(step, path))?;
        let name = clean.file_name().ok_or_else(|| on(step, path)(errno(libc::EISDIR)))?;
        let dir = self.dirs.writable(clean.parent().unwrap_or(Path::new(""))).map_err(on(step, path))?;
        Ok((dir, name.to_os_string()))
    }

    /// Makes something at a name, in place of what is there unless that is a directory (EISDIR). Also says what the name was before.
    pub(crate) fn place<T>(
        &self,
        dir: &Dir,
        name: &OsStr,
        make: impl Fn(BorrowedFd<'_>, &OsStr) -> io::Result<T>,
    ) -> io::Result<(T, Option<Kind>)> {
        let upper = dir.made();
        let mut before = dir.below(name)?.map(|stat| stat.kind);
        if before == Some(Kind::Dir) && at::stat(upper, name)?.is_none() {
            return Err(errno(libc::EISDIR));
        }
        for _ in 0..ATTEMPTS {
            match make(upper, name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok((made?, before)),
            }
            match at::stat(upper, name)? {
                Some(stat) if stat.kind == Kind::Dir => return Err(errno(libc::EISDIR)),
                Some(stat) => {
                    before = (!self.dirs.is_deletion(&stat)).then_some(stat.kind);
                    place::unlink(upper, name)?;
                }
                None => {}
            }
        }
        Err(errno(libc::EEXIST))
    }

    /// Makes or changes the directory at a relative path.
    pub(crate) fn make_dir_at(&self, path: &Path, attrs: &Attrs) -> io::Result<Arc<Dir>> {
        let Some(name) = path.file_name() else {
            let root = self.dirs.writable(path)?;
            inode::finish(root.made(), attrs, Origin::Outside)?;
            return Ok(root);
        };
        let parent = self.dirs.writable(path.parent().unwrap_or(Path::new("")))?;
        match self.dirs.entry(&parent, name)? {
            Some(found) if found.stat().kind == Kind::Dir => {
                let dir = self.dirs.writable(path)?;
                inode::finish(dir.made(), attrs, Origin::Outside)?;
                Ok(dir)
            }
            Some(_) => Err(errno(libc::EEXIST)),
            None => self.make_new_dir(&parent, path, name, attrs),
        }
    }

    /// Where a deletion was marked, the new directory hides what the parents have there.
    fn make_new_dir(&self, parent: &Dir, path: &Path, name: &OsStr, attrs: &Attrs) -> io::Result<Arc<Dir>> {
        let upper = parent.made();
        let mut hides = false;
        if let Err(error) = place::make_dir(upper, name) {
            let marked = error.kind() == io::ErrorKind::AlreadyExists
                && at::stat(upper, name)?.is_some_and(|stat| self.dirs.is_deletion(&stat));
            if !marked {
                return Err(error);
            }
            place::unlink(upper, name)?;
            place::make_dir(upper, name)?;
            hides = true;
        }
        let made = place::open_dir(upper, name)?;
        if let (true, Some(flavour)) = (hides, self.dirs.flavour()) {
            xattrs::set_opaque(made.as_fd(), flavour)?;
        }
        inode::finish(made.as_fd(), attrs, Origin::Outside)?;
        Ok(self.dirs.add_new(path, made))
    }

    /// Makes sure that an entry can be changed without changing the parents: copies it up, or takes it away from the names that it shared its
    /// inode with in the parent. Gives its writable directory and what it is then. ENOENT when there is nothing.
    pub(crate) fn owned(&self, path: &Path) -> io::Result<(Arc<Dir>, Stat)> {
        let name = path.file_name().ok_or_else(|| errno(libc::EINVAL))?;
        let above = path.parent().unwrap_or(Path::new(""));
        let dir = self.dirs.lookup(above)?.ok_or_else(|| errno(libc::ENOENT))?;
        let found = self.dirs.entry(&dir, name)?.ok_or_else(|| errno(libc::ENOENT))?;
        if found.stat().kind == Kind::Dir {
            return Ok((self.dirs.writable(path).and_then(|_| self.dirs.writable(above))?, found.stat().clone()));
        }
        match found {
            Found::Upper(stat) if self.is_inherited(&stat) => self.replace_by_copy(&dir, name, &stat)?,
            Found::Upper(stat) => return Ok((dir, stat)),
            Found::Lower(stat) => {
                let dir = self.dirs.writable(above)?;
                self.copy_up(&dir, name, &stat)?;
            }
        }
        let dir = self.dirs.writable(above)?;
        let stat = at::stat(dir.made(), name)?.ok_or_else(|| errno(libc::ENOENT))?;
        Ok((dir, stat))
    }

    fn is_inherited(&self, stat: &Stat) -> bool {
        let Some(linked) = &self.linked else { return false };
        stat.nlink > 1 && !linked.lock().unwrap_or_else(PoisonError::into_inner).contains(&stat.ino)
    }

    /// Copies a file of the parents; the directory's time stays, as the kernel does it.
    fn copy_up(&self, dir: &Dir, name: &OsStr, stat: &Stat) -> io::Result<()> {
        let _copying = self.dirs.copying();
        if at::stat(dir.made(), name)?.is_some() {
            return Ok(());
        }
        let before = Stat::of(dir.made())?.mtime;
        let lower = dir.lower().ok_or_else(|| errno(libc::ENOENT))?;
        inode::replicate(Source { dir: lower, name, stat }, dir.made(), name)?;
        inode::set_mtime(dir.made(), before)
    }

    fn replace_by_copy(&self, dir: &Dir, name: &OsStr, stat: &Stat) -> io::Result<()> {
        let _copying = self.dirs.copying();
        let before = Stat::of(dir.made())?.mtime;
        let staging = at::open_path(&self.staging)?;
        let copy = std::ffi::OsString::from(format!("copy-{}", self.moved.fetch_add(1, Ordering::Relaxed)));
        inode::replicate(Source { dir: dir.made(), name, stat }, staging.as_fd(), &copy)?;
        place::rename(&staging, &copy, dir.made(), name, place::Rename::Replace)?;
        inode::set_mtime(dir.made(), before)
    }
}

/// Copies at most `size` bytes of a stream; returns how many came.
pub(crate) fn fill(to: BorrowedFd<'_>, from: &mut dyn Read, size: u64) -> io::Result<u64> {
    let mut to = std::fs::File::from(to.try_clone_to_owned()?);
    let mut buffer = vec![0; usize::try_from(size.min(BUFFER)).expect("it is bounded by the buffer")];
    let mut copied = 0;
    while copied < size {
        let want = usize::try_from((size - copied).min(BUFFER)).expect("it is bounded by the buffer");
        match from.read(&mut buffer[..want]) {
            Ok(0) => break,
            Ok(got) => {
                to.write_all(&buffer[..got])?;
                copied += got as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}
