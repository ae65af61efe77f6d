//! A directory as the root of all resolution beneath it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};
use rustix::io::Errno;

use crate::list::list_dir;
use crate::{DirEntry, Kind, Stat};

/// How many symbolic links [`Root::resolve`] follows before it gives up (ELOOP).
const MAX_LINKS: usize = 255;
/// openat2 says EAGAIN when a rename raced with `..`; how often it is asked again.
const MAX_RACES: usize = 64;

/// A directory as the root of all resolution beneath it: openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS.
///
/// Links resolve as after a chroot, `..` stops at the root, and an absolute path means the same as a relative one. Any directory
/// descriptor will do: an O_PATH one, or the root of a detached mount. Cloning duplicates nothing.
/// Errors of its methods carry the plain errno; the caller names the path.
#[derive(Clone, Debug)]
pub struct Root {
    fd: Arc<OwnedFd>,
}

impl Root {
    /// Opens a directory of the host, following links.
    pub fn open(path: &Path) -> io::Result<Root> {
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Root::from_fd(fd))
    }

    /// Takes a directory descriptor.
    pub fn from_fd(fd: OwnedFd) -> Root {
        Root { fd: Arc::new(fd) }
    }

    /// The directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a regular file for reading, links resolved in scope. EISDIR for a directory, ENXIO for any other kind:
    /// neither a fifo nor a device is ever opened.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        require_file(Stat::of(self.open_with(path, OFlags::PATH)?)?.kind)?;
        let file = self.open_with(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        require_file(Stat::of(&file)?.kind)?;
        Ok(File::from(file))
    }

    /// Opens a directory for reading, links resolved in scope. ENOTDIR for anything else.
    pub fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens whatever is there without access to its content (O_PATH); the last component's link itself unless `follow`.
    pub fn open_path(&self, path: &Path, follow: bool) -> io::Result<OwnedFd> {
        self.open_with(path, if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW })
    }

    /// lstat, or stat in scope when `follow`; `None` for ENOENT and ENOTDIR.
    pub fn stat(&self, path: &Path, follow: bool) -> io::Result<Option<Stat>> {
        match absent_as_none(self.open_path(path, follow))? {
            Some(fd) => Stat::of(fd).map(Some),
            None => Ok(None),
        }
    }

    /// What the symbolic link says. EINVAL when it is none.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        read_link_of(self.open_path(path, false)?.as_fd())
    }

    /// The names in a directory, sorted by their bytes.
    pub fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        list_dir(self.open_dir(path)?.as_fd())
    }

    /// A regular file's content, at most `limit` bytes (EFBIG beyond); `None` when it is absent.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = absent_as_none(self.open_file(path))? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(Errno::FBIG.into());
        }
        Ok(Some(content))
    }

    /// Resolves links as chroot would, the last component's too when `follow`. The result is a clean absolute path beneath the root
    /// without links (but for the last component when not `follow`). Components that do not exist are kept, and `..` after them
    /// is taken lexically. ELOOP after 255 links.
    pub fn resolve(&self, path: &Path, follow: bool) -> io::Result<PathBuf> {
        Resolution::new(self, path).run(follow)
    }

    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let scope = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        open_beneath(self.fd(), beneath(path), flags, scope)
    }
}

/// The path itself, or `.` when it is empty (openat2 refuses an empty path).
fn beneath(path: &Path) -> &OsStr {
    if path.as_os_str().is_empty() { OsStr::new(".") } else { path.as_os_str() }
}

/// openat2 with the races retried.
pub(crate) fn open_beneath(dir: BorrowedFd<'_>, path: &OsStr, flags: OFlags, scope: ResolveFlags) -> io::Result<OwnedFd> {
    for _ in 0..MAX_RACES {
        match openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), scope) {
            Err(Errno::AGAIN | Errno::INTR) => (),
            done => return Ok(done?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// What an O_PATH descriptor's symbolic link says.
pub(crate) fn read_link_of(link: BorrowedFd<'_>) -> io::Result<PathBuf> {
    // An empty path on something that is no link is ENOENT, which would read as absence.
    let target = readlinkat(link, c"", Vec::new()).map_err(|errno| if errno == Errno::NOENT { Errno::INVAL } else { errno })?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

fn require_file(kind: Kind) -> io::Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Dir => Err(Errno::ISDIR.into()),
        Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Err(Errno::NXIO.into()),
    }
}

/// `None` where the path does not lead to anything.
fn absent_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error says that a path leads to nothing (ENOENT, ENOTDIR).
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// A walk down a path, one component at a time. Holds one descriptor, however deep it gets.
struct Resolution<'a> {
    root: &'a Root,
    /// Components still to go.
    rest: VecDeque<OsString>,
    /// Components done.
    done: Vec<OsString>,
    /// How many of `done`, from the first, are directories that exist.
    existing: usize,
    /// The last of those; `None` is the root.
    dir: Option<OwnedFd>,
    links: usize,
}

impl<'a> Resolution<'a> {
    fn new(root: &'a Root, path: &Path) -> Resolution<'a> {
        Resolution { root, rest: names(path).collect(), done: Vec::new(), existing: 0, dir: None, links: 0 }
    }

    fn run(mut self, follow: bool) -> io::Result<PathBuf> {
        while let Some(name) = self.rest.pop_front() {
            if name == ".." { self.leave()? } else { self.enter(name, follow)? }
        }
        Ok(self.path())
    }

    fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(&self.done);
        path
    }

    fn leave(&mut self) -> io::Result<()> {
        self.done.pop();
        if self.existing > self.done.len() {
            self.existing = self.done.len();
            self.dir = Some(self.root.open_path(&self.path(), false)?);
        }
        Ok(())
    }

    fn enter(&mut self, name: OsString, follow: bool) -> io::Result<()> {
        let found = if self.existing == self.done.len() { absent_as_none(open_name(self.dir(), &name))? } else { None };
        let kind = found.as_ref().map(Stat::of).transpose()?.map(|stat| stat.kind);
        match (found, kind) {
            (Some(link), Some(Kind::Symlink)) if follow || !self.rest.is_empty() => return self.follow(link.as_fd()),
            (Some(dir), Some(Kind::Dir)) => {
                self.existing += 1;
                self.dir = Some(dir);
            }
            _ => (),
        }
        self.done.push(name);
        Ok(())
    }

    fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_ref().map_or_else(|| self.root.fd(), AsFd::as_fd)
    }

    fn follow(&mut self, link: BorrowedFd<'_>) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = read_link_of(link)?;
        if target.is_absolute() {
            self.done.clear();
            self.existing = 0;
            self.dir = None;
        }
        for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }
}

fn open_name(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Components, `..` among them, without `.` and the leading slash.
fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
