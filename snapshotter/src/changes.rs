//! What a state has beyond its parent.
//!
//! Two trees are walked together, level by level, the directories of a level in parallel. In the overlay form only what the upper directory
//! lists is looked at, but an opaque directory is compared with all that the parents have there, and so is everything in the copy
//! driver's whole trees: an entry that is there again unchanged is no change, and one that is missing is a deletion.
//!
//! Unchanged means, as in containerd (spec G-67): same type, mode, owner, device number and layer-worthy attributes; for what is not a directory
//! also same size and time, and same content when the time has no nanoseconds (a tar's whole seconds prove nothing).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rbuild_fs::{Enter, Kind, Root, Stat, place};

use crate::error::{Result, on};
use crate::xattrs::{self, Flavour};
use crate::{Change, ChangeKind, at};

/// How a state's own directory shows what it changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Overlay(Flavour),
    /// Everything is there. What did not change (by its ctime) since `copied` is as in the parent.
    Whole {
        copied: Option<(i64, u32)>,
    },
}

/// Two trees to compare.
pub(crate) struct Diff<'a> {
    pub(crate) upper: BorrowedFd<'a>,
    /// The parents, merged; `None` for a base.
    pub(crate) lower: Option<BorrowedFd<'a>>,
    pub(crate) form: Form,
}

/// A directory to look into.
struct Job {
    path: PathBuf,
    /// The parents have a directory there too.
    both: bool,
    /// What only the parents have is a deletion.
    exhaustive: bool,
}

/// An entry whose inode has several names.
struct Linked {
    path: PathBuf,
    ino: u64,
    changed: bool,
    /// What the parents have there, if that has several names too.
    below: Option<u64>,
}

#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    linked: Vec<Linked>,
    jobs: Vec<Job>,
}

impl Diff<'_> {
    /// Sorted by path in byte order of components, parents of changed paths included.
    pub(crate) fn changes(&self) -> Result<Vec<Change>> {
        let whole = matches!(self.form, Form::Whole { .. });
        let mut level = vec![Job { path: PathBuf::new(), both: self.lower.is_some(), exhaustive: whole }];
        let mut total = Outcome::default();
        while !level.is_empty() {
            let done = level.par_iter().map(|job| self.directory(job).map_err(on("compare the directory", &job.path)));
            let done = done.collect::<Result<Vec<_>>>()?;
            level.clear();
            for outcome in done {
                total.changes.extend(outcome.changes);
                total.linked.extend(outcome.linked);
                level.extend(outcome.jobs);
            }
        }
        let mut changes = total.changes;
        self.add_siblings(&mut changes, total.linked)?;
        add_parents(&mut changes);
        changes.par_sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(changes)
    }

    /// An unchanged name of an inode that also has a changed one is listed, or the link between them would be lost (spec G-66). Where the
    /// parents have further names of it, it is not: its link with those would be lost instead, and BuildKit keeps those.
    fn add_siblings(&self, changes: &mut Vec<Change>, linked: Vec<Linked>) -> Result<()> {
        let changed: HashSet<u64> = linked.iter().filter(|linked| linked.changed).map(|linked| linked.ino).collect();
        let siblings: Vec<Linked> =
            linked.into_iter().filter(|linked| !linked.changed && changed.contains(&linked.ino)).collect();
        let names = match self.lower {
            Some(lower) if siblings.iter().any(|linked| linked.below.is_some()) => {
                count_names(lower, &siblings.iter().filter_map(|linked| linked.below).collect())
                    .map_err(on("look for links of", Path::new("/")))?
            }
            Some(_) | None => HashMap::new(),
        };
        let is_linked_below = |linked: &Linked| linked.below.and_then(|ino| names.get(&ino)).is_some_and(|names| *names > 1);
        let listed = siblings.into_iter().filter(|linked| !is_linked_below(linked));
        changes.extend(listed.map(|linked| Change { path: linked.path, kind: ChangeKind::Modified }));
        Ok(())
    }

    fn directory(&self, job: &Job) -> io::Result<Outcome> {
        let upper = at::open_beneath(self.upper, &job.path)?;
        let lower = match self.lower {
            Some(lower) if job.both => Some(at::open_beneath(lower, &job.path)?),
            Some(_) | None => None,
        };
        let exhaustive = job.exhaustive
            || match self.form {
                Form::Overlay(flavour) => lower.is_some() && xattrs::is_opaque(upper.as_fd(), flavour)?,
                Form::Whole { .. } => true,
            };
        let mut visit = Visit {
            diff: self,
            job,
            exhaustive,
            upper: upper.as_fd(),
            lower: lower.as_ref().map(AsFd::as_fd),
            found: Outcome::default(),
        };
        let mut present = HashSet::new();
        for entry in rbuild_fs::list_dir(upper.as_fd())? {
            if visit.entry(&entry.name)? && exhaustive && lower.is_some() {
                present.insert(entry.name);
            }
        }
        if let (true, Some(lower)) = (exhaustive, &lower) {
            for entry in rbuild_fs::list_dir(lower.as_fd())? {
                if !present.contains(&entry.name) {
                    visit.add(&entry.name, ChangeKind::Deleted);
                }
            }
        }
        Ok(visit.found)
    }

    fn is_deletion(&self, stat: &Stat) -> bool {
        matches!(self.form, Form::Overlay(_)) && at::is_whiteout(stat)
    }
}

/// One directory being compared.
struct Visit<'a> {
    diff: &'a Diff<'a>,
    job: &'a Job,
    exhaustive: bool,
    upper: BorrowedFd<'a>,
    lower: Option<BorrowedFd<'a>>,
    found: Outcome,
}

impl Visit<'_> {
    fn add(&mut self, name: &OsStr, kind: ChangeKind) {
        self.found.changes.push(Change { path: self.job.path.join(name), kind });
    }

    /// Compares one entry; false when it is only the mark of a deletion.
    fn entry(&mut self, name: &OsStr) -> io::Result<bool> {
        let Some(stat) = at::stat(self.upper, name)? else { return Ok(false) };
        let below = self.lower.map_or(Ok(None), |lower| at::stat(lower, name))?;
        if self.diff.is_deletion(&stat) {
            // In an exhaustive directory, all deletions are found by what is missing.
            if below.is_some() && !self.exhaustive {
                self.add(name, ChangeKind::Deleted);
            }
            return Ok(false);
        }
        let changed = match &below {
            None => Some(ChangeKind::Added),
            Some(below) if self.is_same(name, &stat, below)? => None,
            Some(_) => Some(ChangeKind::Modified),
        };
        if let Some(kind) = changed {
            self.add(name, kind);
        }
        if stat.kind == Kind::Dir {
            let both = below.as_ref().is_some_and(|below| below.kind == Kind::Dir);
            self.found.jobs.push(Job { path: self.job.path.join(name), both, exhaustive: self.exhaustive });
        } else if stat.nlink > 1 {
            let below = below.filter(|below| below.nlink > 1).map(|below| below.ino);
            self.found.linked.push(Linked { path: self.job.path.join(name), ino: stat.ino, changed: changed.is_some(), below });
        }
        Ok(true)
    }

    fn is_same(&self, name: &OsStr, upper: &Stat, lower: &Stat) -> io::Result<bool> {
        if upper.kind != lower.kind {
            return Ok(false);
        }
        if let Form::Whole { copied: Some(copied) } = self.diff.form
            && upper.ctime < copied
        {
            return Ok(true);
        }
        if (upper.mode, upper.uid, upper.gid) != (lower.mode, lower.uid, lower.gid) {
            return Ok(false);
        }
        let is_dir = upper.kind == Kind::Dir;
        if !is_dir && (upper.size, upper.mtime, upper.rdev) != (lower.size, lower.mtime, lower.rdev) {
            return Ok(false);
        }
        let parents = self.lower.expect("it was found there");
        if xattrs::leaving_at(self.upper, name)? != xattrs::leaving_at(parents, name)? {
            return Ok(false);
        }
        if is_dir || upper.mtime.1 != 0 {
            return Ok(true);
        }
        has_same_content(upper.kind, name, self.upper, parents)
    }
}

/// How many names a tree has of each of these inodes. An overlay's link counts do not tell: they include what upper layers deleted.
fn count_names(tree: BorrowedFd<'_>, inodes: &HashSet<u64>) -> io::Result<HashMap<u64, usize>> {
    let names = Mutex::new(HashMap::new());
    rbuild_fs::walk(&Root::from_fd(at::open_beneath(tree, Path::new(""))?), Path::new(""), &|_, stat| {
        if stat.kind != Kind::Dir && stat.nlink > 1 && inodes.contains(&stat.ino) {
            *names.lock().unwrap_or_else(PoisonError::into_inner).entry(stat.ino).or_default() += 1;
        }
        Enter::Through
    })?;
    Ok(names.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn has_same_content(kind: Kind, name: &OsStr, upper: BorrowedFd<'_>, lower: BorrowedFd<'_>) -> io::Result<bool> {
    match kind {
        Kind::File => {
            let upper = std::fs::File::from(place::open_file(upper, name)?);
            let lower = std::fs::File::from(place::open_file(lower, name)?);
            is_equal(upper, lower)
        }
        Kind::Symlink => Ok(place::read_link(upper, name)? == place::read_link(lower, name)?),
        Kind::Dir | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Ok(true),
    }
}

fn is_equal(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    const BUFFER: usize = 64 * 1024;
    let mut buffers = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let (got, same) = (read_full(&mut one, &mut buffers.0)?, read_full(&mut other, &mut buffers.1)?);
        if buffers.0[..got] != buffers.1[..same] {
            return Ok(false);
        }
        if got < BUFFER {
            return Ok(true);
        }
    }
}

fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn add_parents(changes: &mut Vec<Change>) {
    let mut parents = HashSet::new();
    let listed: HashSet<&Path> = changes.iter().map(|change| &*change.path).collect();
    for change in &*changes {
        let above = change.path.ancestors().skip(1).take_while(|path| !path.as_os_str().is_empty());
        for path in above.take_while(|path| !listed.contains(path)) {
            if !parents.insert(path.to_path_buf()) {
                break;
            }
        }
    }
    changes.extend(parents.into_iter().map(|path| Change { path, kind: ChangeKind::Parent }));
}
