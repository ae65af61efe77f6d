//! Directory descriptors by path, so that writing many files does not walk down the same path again and again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::walk::open_deep;

/// Directories beneath a root by their literal path: a link on the way is ELOOP, and `..` is refused.
///
/// One per thread; extraction and copying of 50k files ask for the same parents again and again, which costs a look-up here
/// instead of a walk down the path. Whoever removes or renames a directory tells it by [`DirCache::forget`].
#[derive(Debug)]
pub struct DirCache {
    root: Arc<OwnedFd>,
    open: HashMap<PathBuf, Arc<OwnedFd>>,
    capacity: usize,
    last: Option<(PathBuf, Arc<OwnedFd>)>,
}

impl DirCache {
    /// Descriptors that a cache holds at most.
    const CAPACITY: usize = 64;

    /// An empty cache beneath `root`, which may be an O_PATH descriptor or a detached mount's.
    pub fn new(root: OwnedFd) -> DirCache {
        DirCache { root: Arc::new(root), open: HashMap::new(), capacity: DirCache::CAPACITY, last: None }
    }

    /// The directory at `path` (absolute or relative, both beneath the root; empty is the root), open for reading.
    pub fn dir(&mut self, path: &Path) -> io::Result<Arc<OwnedFd>> {
        let path = path.strip_prefix("/").unwrap_or(path);
        if path.as_os_str().is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((last, fd)) = &self.last
            && last.as_os_str() == path.as_os_str()
        {
            return Ok(Arc::clone(fd));
        }
        let fd = match self.open.get(path) {
            Some(fd) => Arc::clone(fd),
            None => self.open_new(path)?,
        };
        self.last = Some((path.to_owned(), Arc::clone(&fd)));
        Ok(fd)
    }

    /// The directory that holds `path`, and its last component. EINVAL when it has none (the root, `..`).
    pub fn parent<'p>(&mut self, path: &'p Path) -> io::Result<(Arc<OwnedFd>, &'p OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let fd = self.dir(path.parent().unwrap_or(Path::new("")))?;
        Ok((fd, name))
    }

    /// Forgets a path and all below it. To be called when a directory there is removed, renamed or replaced.
    pub fn forget(&mut self, path: &Path) {
        let path = path.strip_prefix("/").unwrap_or(path);
        self.last = None;
        self.open.retain(|open, _| !open.starts_with(path));
    }

    fn open_new(&mut self, path: &Path) -> io::Result<Arc<OwnedFd>> {
        // Not O_NOFOLLOW, which would turn a link at the end from ELOOP into ENOTDIR; resolving follows none.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let known = path.ancestors().skip(1).find_map(|above| Some((above, self.open.get(above)?)));
        let fd = match known {
            Some((above, fd)) => open_deep(fd.as_fd(), path.strip_prefix(above).expect("it is an ancestor"), flags)?,
            None => open_deep(self.root.as_fd(), path, flags)?,
        };
        if self.open.len() >= self.capacity {
            self.open.clear();
        }
        let fd = Arc::new(fd);
        self.open.insert(path.to_owned(), Arc::clone(&fd));
        Ok(fd)
    }

    /// The root itself.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

#[cfg(test)]
#[path = "dir_cache_tests.rs"]
mod tests;
