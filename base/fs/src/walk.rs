//! Walking a tree: in parallel, by directory descriptors, sorted by path components.
//!
//! Each directory is one finite rayon job that lists it, asks for each entry's metadata and starts the jobs of its directories.
//! A job's result goes into a slot of its parent's, so that a last, sequential pass yields the order without sorting paths.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat};

use crate::list::list_open_dir;
use crate::root::open_beneath;
use crate::{Kind, Root, Stat};

/// Levels at which a directory is held open until its last directory is done. Deeper ones are opened again by their path
/// (without following links), so that depth does not eat descriptors.
const HELD_LEVELS: usize = 24;
/// Longest path given to one openat2 (PATH_MAX with its terminator is 4096).
const MAX_PATH: usize = 4000;

/// What to do with an entry of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// List it and, if it is a directory, go into it.
    Yes,
    /// List it, but do not go into it.
    Leaf,
    /// Go into it, and list it only if something below it is listed.
    Through,
    /// Neither list it nor go into it.
    Skip,
}

/// One entry of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkEntry {
    /// Relative to the directory that the walk started at; never empty.
    pub path: PathBuf,
    /// Its metadata; a link's own.
    pub stat: Stat,
}

/// A walk failed at a path.
#[derive(Debug, thiserror::Error)]
#[error("walking `{path}`", path = path.display())]
pub struct WalkError {
    /// Relative to the start of the walk.
    pub path: PathBuf,
    /// The system call's error.
    #[source]
    pub source: io::Error,
}

/// Walks beneath `start` (links in `start` itself resolved in scope), calling `enter` from several threads with each entry's path,
/// relative to `start`, and metadata. The result is sorted by path components in byte order: parents first, `a/b` before `a.b`.
///
/// Links are never followed. What vanishes between listing and looking is left out. Errors are [`WalkError`]s inside `io::Error`.
pub fn walk(root: &Root, start: &Path, enter: &(dyn Fn(&Path, &Stat) -> Enter + Sync)) -> io::Result<Vec<WalkEntry>> {
    let top = Arc::new(root.open_dir(start)?);
    let slot = Slot::default();
    let walk = Walk { top: top.as_fd(), enter, failed: AtomicBool::new(false) };
    let job = Job { parent: Some(Arc::clone(&top)), path: PathBuf::new(), level: 0, slot: Arc::clone(&slot) };
    rayon::scope(|scope| walk.run(scope, job));
    let mut entries = Vec::new();
    flatten(slot, &mut entries)?;
    Ok(entries)
}

/// What one directory gave.
type Slot = Arc<OnceLock<Result<Vec<Found>, WalkError>>>;

struct Found {
    entry: WalkEntry,
    /// Listed whatever is below.
    listed: bool,
    below: Option<Slot>,
}

struct Walk<'a> {
    top: BorrowedFd<'a>,
    enter: &'a (dyn Fn(&Path, &Stat) -> Enter + Sync),
    failed: AtomicBool,
}

/// One directory to be listed.
struct Job {
    /// The directory that holds it, unless it has to be found by its path.
    parent: Option<Arc<OwnedFd>>,
    /// Relative to the start; empty is the start.
    path: PathBuf,
    level: usize,
    slot: Slot,
}

impl Walk<'_> {
    fn run<'s>(&'s self, scope: &rayon::Scope<'s>, job: Job) {
        if self.failed.load(Ordering::Relaxed) {
            return;
        }
        let result = self.list(scope, &job);
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        assert!(job.slot.set(result).is_ok(), "a job runs once");
    }

    fn list<'s>(&'s self, scope: &rayon::Scope<'s>, job: &Job) -> Result<Vec<Found>, WalkError> {
        let fail = |source| WalkError { path: job.path.clone(), source };
        let Some(dir) = none_if_gone(self.open(job)).map_err(fail)? else { return Ok(Vec::new()) };
        let names = list_open_dir(&dir).map_err(fail)?;
        let dir = Arc::new(dir);
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let path = join(&job.path, &name.name);
            let stat = match none_if_gone(Stat::at(&*dir, &*name.name)) {
                Ok(Some(stat)) => stat,
                Ok(None) => continue,
                Err(source) => return Err(WalkError { path, source }),
            };
            let (listed, into) = match (self.enter)(&path, &stat) {
                Enter::Yes => (true, true),
                Enter::Leaf => (true, false),
                Enter::Through => (false, true),
                Enter::Skip => continue,
            };
            let below = (into && stat.kind == Kind::Dir).then(|| {
                let slot = Slot::default();
                let parent = (job.level < HELD_LEVELS).then(|| Arc::clone(&dir));
                let job = Job { parent, path: path.clone(), level: job.level + 1, slot: Arc::clone(&slot) };
                scope.spawn(move |scope| self.run(scope, job));
                slot
            });
            if listed || below.is_some() {
                found.push(Found { entry: WalkEntry { path, stat }, listed, below });
            }
        }
        Ok(found)
    }

    fn open(&self, job: &Job) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match (&job.parent, job.path.file_name()) {
            (Some(parent), Some(name)) => Ok(openat(&**parent, name, flags, Mode::empty())?),
            (_, None) => Ok(openat(self.top, c".", flags, Mode::empty())?),
            (None, Some(_)) => open_deep(self.top, &job.path, flags),
        }
    }
}

fn join(dir: &Path, name: &OsStr) -> PathBuf {
    let mut path = OsString::with_capacity(dir.as_os_str().len() + 1 + name.len());
    if !dir.as_os_str().is_empty() {
        path.push(dir);
        path.push("/");
    }
    path.push(name);
    path.into()
}

/// Opens a path of any length beneath a directory without following a link.
pub(crate) fn open_deep(top: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let scope = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut held: Option<OwnedFd> = None;
    let mut piece = OsString::new();
    for name in path.iter() {
        if piece.len() + name.len() >= MAX_PATH {
            let from = held.as_ref().map_or(top, AsFd::as_fd);
            held = Some(open_beneath(from, &piece, OFlags::PATH | OFlags::DIRECTORY, scope)?);
            piece.clear();
        }
        if !piece.is_empty() {
            piece.push("/");
        }
        piece.push(name);
    }
    open_beneath(held.as_ref().map_or(top, AsFd::as_fd), &piece, flags, scope)
}

/// A directory that became something else meanwhile is gone as well.
fn none_if_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the slots apart in order. Depth-first on a stack of its own, since a hostile tree may be deeper than the thread's.
fn flatten(top: Slot, entries: &mut Vec<WalkEntry>) -> io::Result<()> {
    let mut open = vec![Level { found: take(top)?.into_iter(), through: None }];
    // Directories that are listed only if something below is, from the outermost.
    let mut waiting: Vec<WalkEntry> = Vec::new();
    while let Some(level) = open.last_mut() {
        let Some(found) = level.found.next() else {
            if let Some(position) = level.through {
                waiting.truncate(position);
            }
            open.pop();
            continue;
        };
        let mut through = None;
        if found.listed {
            entries.append(&mut waiting);
            entries.push(found.entry);
        } else {
            through = Some(waiting.len());
            waiting.push(found.entry);
        }
        if let Some(below) = found.below {
            open.push(Level { found: take(below)?.into_iter(), through });
        }
    }
    Ok(())
}

struct Level {
    found: std::vec::IntoIter<Found>,
    /// Where its own directory is in `waiting`, if it still waits.
    through: Option<usize>,
}

fn take(slot: Slot) -> io::Result<Vec<Found>> {
    match Arc::into_inner(slot).and_then(OnceLock::into_inner) {
        Some(Ok(found)) => Ok(found),
        Some(Err(error)) => Err(io::Error::new(error.source.kind(), error)),
        // Not run because another directory failed, whose error comes later in the order.
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
