//! Directories of a state that is being written: an upper one, the parents' one beneath it, or both.
//!
//! All look-ups are by literal path, one component at a time: a symbolic link on the way is ELOOP. Descriptors are cached by path; whoever
//! removes or replaces a directory calls [`Dirs::forget`].

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use rbuild_fs::{Kind, Stat, place};
use rustix::io::Errno;

use crate::at;
use crate::error::errno;
use crate::inode::{self, Origin};
use crate::xattrs::{self, Flavour};

/// Directories that stay open. Two descriptors each at most.
const CACHED: usize = 64;
/// Levels above a path at which an open directory is looked for: hashing every ancestor of a path of thousands of levels would take longer than
/// opening them.
const NEAR: usize = 8;

/// A directory of the merged state.
#[derive(Debug)]
pub(crate) struct Dir {
    /// Relative to the root; empty for the root.
    pub(crate) path: PathBuf,
    upper: OnceLock<OwnedFd>,
    /// The parents' directory whose entries show through.
    lower: Option<OwnedFd>,
}

impl Dir {
    /// The directory that takes changes, if it was made already.
    pub(crate) fn upper(&self) -> Option<BorrowedFd<'_>> {
        self.upper.get().map(AsFd::as_fd)
    }

    /// As [`Dir::upper`], of one that [`Dirs::writable`] gave.
    pub(crate) fn made(&self) -> BorrowedFd<'_> {
        self.upper().expect("a writable directory has its upper one")
    }

    pub(crate) fn lower(&self) -> Option<BorrowedFd<'_>> {
        self.lower.as_ref().map(AsFd::as_fd)
    }

    /// What the parents show through at `name`.
    pub(crate) fn below(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        self.lower.as_ref().map_or(Ok(None), |lower| at::stat(lower, name))
    }
}

/// Where an entry of the merged state lives.
#[derive(Debug)]
pub(crate) enum Found {
    Upper(Stat),
    Lower(Stat),
}

impl Found {
    pub(crate) fn stat(&self) -> &Stat {
        match self {
            Found::Upper(stat) | Found::Lower(stat) => stat,
        }
    }
}

/// The directories of one state.
#[derive(Debug)]
pub(crate) struct Dirs {
    root: Arc<Dir>,
    /// How deletions are marked; `None` in a whole tree, which needs no marks.
    flavour: Option<Flavour>,
    /// By relative path, as bytes: hashing a path by its components takes much longer.
    open: RwLock<HashMap<OsString, Arc<Dir>>>,
    /// Held while something is copied up, so that two threads do not do it twice.
    copying: Mutex<()>,
}

impl Dirs {
    pub(crate) fn new(upper: OwnedFd, lower: Option<OwnedFd>, flavour: Option<Flavour>) -> Dirs {
        let root = Dir { path: PathBuf::new(), upper: OnceLock::from(upper), lower };
        Dirs { root: Arc::new(root), flavour, open: RwLock::default(), copying: Mutex::default() }
    }

    pub(crate) fn flavour(&self) -> Option<Flavour> {
        self.flavour
    }

    /// The directory at a relative path; `None` when there is nothing, ENOTDIR or ELOOP when something else is there or on the way.
    pub(crate) fn lookup(&self, path: &Path) -> io::Result<Option<Arc<Dir>>> {
        let mut unknown = Vec::new();
        let mut current = Arc::clone(&self.root);
        {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            for ancestor in path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty()) {
                if let Some(known) = (unknown.len() < NEAR).then(|| open.get(ancestor.as_os_str())).flatten() {
                    current = Arc::clone(known);
                    break;
                }
                unknown.push(ancestor);
            }
        }
        while let Some(path) = unknown.pop() {
            let Some(dir) = self.open_child(&current, path)? else { return Ok(None) };
            current = if unknown.len() < NEAR { self.remember(dir) } else { Arc::new(dir) };
        }
        Ok(Some(current))
    }

    /// The directory `name` in a directory, without a look at what is known: for a walk down a path that is not asked for again.
    pub(crate) fn child(&self, dir: &Dir, name: &OsStr) -> io::Result<Option<Arc<Dir>>> {
        Ok(self.open_child(dir, &dir.path.join(name))?.map(Arc::new))
    }

    /// As [`Dirs::lookup`], with its upper directory: copied up with its metadata, and its parents with theirs. ENOENT when there is nothing.
    pub(crate) fn writable(&self, path: &Path) -> io::Result<Arc<Dir>> {
        let dir = self.lookup(path)?.ok_or_else(|| errno(libc::ENOENT))?;
        if dir.upper.get().is_some() { Ok(dir) } else { self.copy_up(path) }
    }

    /// The entry `name` of a directory, as the merged state has it.
    pub(crate) fn entry(&self, dir: &Dir, name: &OsStr) -> io::Result<Option<Found>> {
        if let Some(upper) = &dir.upper.get()
            && let Some(stat) = at::stat(upper, name)?
        {
            return Ok(if self.is_deletion(&stat) { None } else { Some(Found::Upper(stat)) });
        }
        Ok(dir.below(name)?.map(Found::Lower))
    }

    /// Whether an entry of an upper directory is the mark of a deletion.
    pub(crate) fn is_deletion(&self, stat: &Stat) -> bool {
        self.flavour.is_some() && at::is_whiteout(stat)
    }

    /// Notes a directory that was just made and shows nothing of the parents.
    pub(crate) fn add_new(&self, path: &Path, upper: OwnedFd) -> Arc<Dir> {
        self.remember(Dir { path: path.to_path_buf(), upper: OnceLock::from(upper), lower: None })
    }

    /// Forgets a path and everything below it.
    pub(crate) fn forget(&self, path: &Path) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).retain(|known, _| !Path::new(known).starts_with(path));
    }

    /// Serialises copying up.
    pub(crate) fn copying(&self) -> MutexGuard<'_, ()> {
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, dir: Dir) -> Arc<Dir> {
        let dir = Arc::new(dir);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= CACHED {
            open.clear();
        }
        open.insert(dir.path.clone().into_os_string(), Arc::clone(&dir));
        dir
    }

    fn open_child(&self, parent: &Dir, path: &Path) -> io::Result<Option<Dir>> {
        let name = path.file_name().ok_or_else(|| errno(libc::EINVAL))?;
        if let Some(upper) = parent.upper.get() {
            match place::open_dir(upper, name) {
                Ok(fd) => {
                    let lower = self.lower_of(parent, fd.as_fd(), name)?;
                    return Ok(Some(Dir { path: path.to_path_buf(), upper: OnceLock::from(fd), lower }));
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOENT) => {}
                    Some(libc::ENOTDIR | libc::ELOOP) => return self.not_a_dir(upper.as_fd(), name),
                    _ => return Err(error),
                },
            }
        }
        let Some(lower) = parent.lower() else { return Ok(None) };
        match at::open_lookup(lower, name) {
            Ok(fd) => Ok(Some(Dir { path: path.to_path_buf(), upper: OnceLock::new(), lower: Some(fd) })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => self.not_a_dir(lower, name),
            Err(error) => Err(error.into()),
        }
    }

    /// The parents' directory beneath an upper one, unless the upper one hides it.
    fn lower_of(&self, parent: &Dir, upper: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
        let (Some(lower), Some(flavour)) = (parent.lower(), self.flavour) else { return Ok(None) };
        if xattrs::is_opaque(upper, flavour)? {
            return Ok(None);
        }
        match at::open_lookup(lower, name) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn not_a_dir(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Dir>> {
        match at::stat(dir, name)? {
            None => Ok(None),
            Some(stat) if self.is_deletion(&stat) => Ok(None),
            Some(stat) if stat.kind == Kind::Symlink => Err(errno(libc::ELOOP)),
            Some(_) => Err(errno(libc::ENOTDIR)),
        }
    }

    fn copy_up(&self, path: &Path) -> io::Result<Arc<Dir>> {
        let _copying = self.copying();
        let mut ancestors: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty()).collect();
        let mut parent = Arc::clone(&self.root);
        while let Some(ancestor) = ancestors.pop() {
            let dir = self.lookup(ancestor)?.ok_or_else(|| errno(libc::ENOENT))?;
            if dir.upper.get().is_none() {
                let upper = copy_up_one(&parent, &dir)?;
                dir.upper.get_or_init(|| upper);
            }
            parent = dir;
        }
        Ok(parent)
    }
}

/// Makes the upper directory with the lower one's metadata; the parent's time stays, as the kernel does it.
fn copy_up_one(parent: &Dir, dir: &Dir) -> io::Result<OwnedFd> {
    let name = dir.path.file_name().ok_or_else(|| errno(libc::EINVAL))?;
    let lower = dir.lower().expect("a directory that is not in the upper layer is in the lower one");
    let above = parent.made();
    let before = Stat::of(above)?.mtime;
    match place::make_dir(above, name) {
        Ok(()) => {}
        // Another thread was faster, and the cache had forgotten it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return place::open_dir(above, name),
        Err(error) => return Err(error),
    }
    let upper = place::open_dir(above, name)?;
    let readable = at::open_beneath(lower, Path::new(""))?;
    inode::finish(upper.as_fd(), &inode::attrs_of_dir(readable.as_fd())?, Origin::State)?;
    inode::set_mtime(above, before)?;
    Ok(upper)
}
