//! Looking at the merged state: what is where, and where a path with symbolic links leads.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rbuild_fs::{Kind, place};

use super::{Dir, EntryStat, Found, SnapshotWriter};
use crate::error::{Result, SnapshotError, errno, on};

/// Symbolic links that one path may go through.
const MAX_LINKS: usize = 255;
/// PATH_MAX less its terminator: longer paths can be used by no program.
const MAX_PATH: usize = 4095;

/// A literal path without its leading slash. EINVAL for `..`, ENAMETOOLONG for what no program can use.
pub(crate) fn relative(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(errno(libc::EINVAL)),
        }
    }
    if clean.as_os_str().len() > MAX_PATH { Err(errno(libc::ENAMETOOLONG)) } else { Ok(clean) }
}

impl SnapshotWriter {
    /// Resolves symbolic links beneath the root as chroot would (including the last component when `follow`); components that do not exist are
    /// kept. At most 255 links (ELOOP).
    pub fn resolve(&self, path: &Path, follow: bool) -> Result<PathBuf> {
        let resolved = self.resolve_relative(path, follow).map_err(on("resolve", path))?;
        Ok(Path::new("/").join(resolved))
    }

    /// What is at a literal path.
    pub fn entry(&self, path: &Path) -> Result<Option<EntryStat>> {
        let clean = relative(path).map_err(on("look up", path))?;
        let Some(name) = clean.file_name() else {
            let root = self.dirs.writable(Path::new("")).and_then(|root| rbuild_fs::Stat::of(root.made()));
            return Ok(Some((&root.map_err(on("look up", path))?).into()));
        };
        let found = self.dirs.lookup(clean.parent().unwrap_or(Path::new(""))).and_then(|dir| match dir {
            Some(dir) => self.dirs.entry(&dir, name),
            None => Ok(None),
        });
        match found {
            Ok(found) => Ok(found.map(|found| found.stat().into())),
            Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => Ok(None),
            Err(error) => Err(on("look up", path)(error)),
        }
    }

    /// Reads a file of the merged state, at most `limit` bytes; `None` when it is absent. Follows links in scope. EISDIR and EINVAL for what
    /// is not a regular file.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let resolved = self.resolve_relative(path, true).map_err(on("resolve", path))?;
        let opened = match self.open_file(&resolved) {
            Ok(opened) => opened,
            Err(error) if rbuild_fs::is_absent(&error) => return Ok(None),
            Err(error) => return Err(on("open", path)(error)),
        };
        let mut content = Vec::new();
        opened.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(on("read", path))?;
        match u64::try_from(content.len()) {
            Ok(size) if size <= limit => Ok(Some(content)),
            _ => Err(SnapshotError::TooLarge { path: path.to_path_buf(), limit }),
        }
    }

    /// What the symbolic link at a literal path says. EINVAL for what is no link, ENOENT where nothing is.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let link = relative(path).and_then(|clean| {
            let name = clean.file_name().ok_or_else(|| errno(libc::EINVAL))?;
            let dir = self.dirs.lookup(clean.parent().unwrap_or(Path::new("")))?.ok_or_else(|| errno(libc::ENOENT))?;
            self.dirs.entry(&dir, name)?.ok_or_else(|| errno(libc::ENOENT))?;
            self.link_target(Some(&dir), name, true)?.ok_or_else(|| errno(libc::EINVAL))
        });
        link.map_err(on("read the link", path))
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        let name = path.file_name().ok_or_else(|| errno(libc::EISDIR))?;
        let dir = self.dirs.lookup(path.parent().unwrap_or(Path::new("")))?.ok_or_else(|| errno(libc::ENOENT))?;
        let found = self.dirs.entry(&dir, name)?.ok_or_else(|| errno(libc::ENOENT))?;
        match found.stat().kind {
            Kind::File => Ok(File::from(place::open_file(layer(&dir, &found), name)?)),
            Kind::Dir => Err(errno(libc::EISDIR)),
            Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Err(errno(libc::EINVAL)),
        }
    }

    /// [`SnapshotWriter::resolve`] without the leading slash.
    pub(crate) fn resolve_relative(&self, path: &Path, follow: bool) -> io::Result<PathBuf> {
        let mut rest: VecDeque<OsString> = names(path).collect();
        let mut done = PathBuf::new();
        // `None` once the path left what exists.
        let mut dir = self.dirs.lookup(&done)?;
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                done.pop();
                dir = or_none(self.dirs.lookup(&done))?;
                continue;
            }
            if let Some(target) = self.link_target(dir.as_deref(), &name, follow || !rest.is_empty())? {
                links += 1;
                if links > MAX_LINKS {
                    return Err(errno(libc::ELOOP));
                }
                if target.is_absolute() {
                    done = PathBuf::new();
                    dir = self.dirs.lookup(&done)?;
                }
                for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                    rest.push_front(name);
                }
                continue;
            }
            if let Some(above) = dir.take().filter(|_| !rest.is_empty()) {
                dir = or_none(self.dirs.child(&above, &name))?;
            }
            done.push(&name);
            if done.as_os_str().len() > MAX_PATH {
                return Err(errno(libc::ENAMETOOLONG));
            }
        }
        Ok(done)
    }

    fn link_target(&self, dir: Option<&Dir>, name: &OsStr, follow: bool) -> io::Result<Option<PathBuf>> {
        let Some(dir) = dir.filter(|_| follow) else { return Ok(None) };
        match self.dirs.entry(dir, name)? {
            Some(found) if found.stat().kind == Kind::Symlink => Ok(Some(place::read_link(layer(dir, &found), name)?)),
            Some(_) | None => Ok(None),
        }
    }
}

/// What is no directory counts as nothing.
fn or_none(dir: io::Result<Option<Arc<Dir>>>) -> io::Result<Option<Arc<Dir>>> {
    match dir {
        Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => Ok(None),
        other => other,
    }
}

/// The directory of the layer that has an entry.
pub(super) fn layer<'a>(dir: &'a Dir, found: &Found) -> BorrowedFd<'a> {
    match found {
        Found::Upper(_) => dir.made(),
        Found::Lower(_) => dir.lower().expect("it was found there"),
    }
}

/// Components, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
