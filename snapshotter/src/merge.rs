//! Laying one state's directory over another: the whole tree of a parent that a copy begins with, or layers of a deep chain that are merged
//! into one.
//!
//! Directories are done level by level, those of a level in parallel. Hard links are kept within what is laid over in one call. Contents are
//! reflinked where possible and copied otherwise, never hard-linked, so that link counts stay what they were.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rbuild_fs::{Kind, Stat, place, xattr};

use crate::at;
use crate::error::{Result, on};
use crate::inode::{self, Origin, Source};
use crate::xattrs::{self, Flavour};

/// Lays the tree of `from` over the one of `onto`. With a flavour, whiteouts and opaque directories are understood, and kept for what may
/// lie below `onto`; without, both are whole trees.
pub(crate) fn lay_over(from: BorrowedFd<'_>, onto: BorrowedFd<'_>, flavour: Option<Flavour>) -> Result<()> {
    Laying { from, onto, flavour, first_links: Mutex::default() }.run()
}

struct Laying<'a> {
    from: BorrowedFd<'a>,
    onto: BorrowedFd<'a>,
    flavour: Option<Flavour>,
    /// First name of each inode that has several.
    first_links: Mutex<HashMap<u64, PathBuf>>,
}

/// What one directory leaves to be done.
#[derive(Default)]
struct Rest {
    dirs: Vec<PathBuf>,
    /// (new name, the name to link it to)
    links: Vec<(PathBuf, PathBuf)>,
}

impl Laying<'_> {
    fn run(&self) -> Result<()> {
        let mut level = vec![PathBuf::new()];
        let mut dirs = Vec::new();
        let mut links = Vec::new();
        while !level.is_empty() {
            let done = level
                .par_iter()
                .map(|path| self.directory(path).map_err(on("copy the directory", path)))
                .collect::<Result<Vec<_>>>()?;
            dirs.append(&mut level);
            for rest in done {
                level.extend(rest.dirs);
                links.extend(rest.links);
            }
        }
        for (path, first) in &links {
            self.link(path, first).map_err(on("copy the link", path))?;
        }
        // Everything is in its place, so the times of directories stay from here.
        dirs.par_iter().try_for_each(|path| self.finish_directory(path).map_err(on("set the attributes of", path)))
    }

    fn directory(&self, path: &Path) -> io::Result<Rest> {
        let from = at::open_beneath(self.from, path)?;
        let onto = at::open_beneath(self.onto, path)?;
        let mut rest = Rest::default();
        for entry in rbuild_fs::list_dir(from.as_fd())? {
            let name = &*entry.name;
            let Some(stat) = at::stat(&from, name)? else { continue };
            if stat.kind == Kind::Dir {
                self.make_directory(from.as_fd(), onto.as_fd(), name)?;
                rest.dirs.push(path.join(name));
            } else if let Some(first) = self.first_link(&stat, &path.join(name)) {
                rest.links.push((path.join(name), first));
            } else {
                rbuild_fs::remove_tree(&onto, name)?;
                self.leaf(Source { dir: from.as_fd(), name, stat: &stat }, onto.as_fd())?;
            }
        }
        Ok(rest)
    }

    fn leaf(&self, from: Source<'_>, onto: BorrowedFd<'_>) -> io::Result<()> {
        if self.flavour.is_some() && at::is_whiteout(from.stat) {
            return inode::create_whiteout(onto, from.name);
        }
        inode::replicate(from, onto, from.name)
    }

    /// The name that an inode was seen under first, if this is not it. (The kernel's whiteouts share inodes too, but are never linked.)
    fn first_link(&self, stat: &Stat, path: &Path) -> Option<PathBuf> {
        if stat.nlink < 2 || (self.flavour.is_some() && at::is_whiteout(stat)) {
            return None;
        }
        let mut first = self.first_links.lock().unwrap_or_else(PoisonError::into_inner);
        let known = first.get(&stat.ino).cloned();
        if known.is_none() {
            first.insert(stat.ino, path.to_path_buf());
        }
        known
    }

    /// A directory that takes the place of anything else hides what lies below.
    fn make_directory(&self, from: BorrowedFd<'_>, onto: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let opaque = match self.flavour {
            Some(flavour) => xattrs::is_opaque(place::open_dir(from, name)?.as_fd(), flavour)?,
            None => false,
        };
        let hides = match at::stat(onto, name)? {
            Some(stat) if stat.kind == Kind::Dir && !opaque => return Ok(()),
            Some(_) => {
                rbuild_fs::remove_tree(onto, name)?;
                true
            }
            None => opaque,
        };
        place::make_dir(onto, name)?;
        match self.flavour {
            Some(flavour) if hides => xattrs::set_opaque(place::open_dir(onto, name)?.as_fd(), flavour),
            Some(_) | None => Ok(()),
        }
    }

    fn link(&self, path: &Path, first: &Path) -> io::Result<()> {
        let (dir, name) = self.onto_parent(path)?;
        let (first_dir, first_name) = self.onto_parent(first)?;
        rbuild_fs::remove_tree(&dir, name)?;
        place::make_hard_link(&first_dir, first_name, &dir, name)
    }

    fn onto_parent<'p>(&self, path: &'p Path) -> io::Result<(std::os::fd::OwnedFd, &'p OsStr)> {
        let dir = at::open_beneath(self.onto, path.parent().unwrap_or(Path::new("")))?;
        Ok((dir, path.file_name().expect("an entry of a directory has a name")))
    }

    /// The upper directory's attributes count, also that it lacks some.
    fn finish_directory(&self, path: &Path) -> io::Result<()> {
        let from = at::open_beneath(self.from, path)?;
        let onto = at::open_beneath(self.onto, path)?;
        let attrs = inode::attrs_of_dir(from.as_fd())?;
        for (name, _) in xattr::list(onto.as_fd())? {
            if !xattrs::is_overlay(&name) && !attrs.xattrs.iter().any(|(kept, _)| *kept == name) {
                xattr::remove(onto.as_fd(), &name)?;
            }
        }
        inode::finish(onto.as_fd(), &attrs, Origin::State)
    }
}
