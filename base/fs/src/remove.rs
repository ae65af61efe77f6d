//! Removing a tree beneath a directory descriptor, whatever is in it.
//!
//! Never follows a link, needs descriptors for the last few levels only (a deeper tree is climbed by `..`, checked by inode number),
//! and makes directories accessible that their own mode closes to an unprivileged owner.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use crate::list::list_open_dir;
use crate::place::{check_name, set_mode};
use crate::{Kind, Stat};

/// Levels that keep their descriptor.
const HELD_LEVELS: usize = 32;

/// Removes `name` in `dir` with everything below it. False when it was absent. Names that vanish meanwhile are fine.
pub fn remove_tree(dir: impl AsFd, name: &OsStr) -> io::Result<bool> {
    check_name(name)?;
    let dir = dir.as_fd();
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::ISDIR | Errno::PERM) => (),
        Err(error) => return Err(error.into()),
    }
    // Most directories on the way to the trash are not empty, but the attempt is cheap.
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) => return Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => (),
        Err(error) => return Err(error.into()),
    }
    let first = Level::open(dir, name.to_owned())?;
    Removal { dir, levels: VecDeque::from([first]) }.run()?;
    Ok(true)
}

struct Removal<'a> {
    dir: BorrowedFd<'a>,
    /// From the outermost to the current one.
    levels: VecDeque<Level>,
}

/// A directory that is being emptied.
struct Level {
    name: OsString,
    /// `None` while the removal is far below it.
    fd: Option<OwnedFd>,
    stat: Stat,
    /// Directories in it, still to be emptied.
    dirs: Vec<OsString>,
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: OsString) -> io::Result<Level> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(parent, &*name, flags, Mode::empty()) {
            Err(Errno::ACCESS) => {
                set_mode(parent, &name, 0o700)?;
                openat(parent, &*name, flags, Mode::empty())?
            }
            opened => opened?,
        };
        let stat = Stat::of(&fd)?;
        let mut level = Level { name, fd: None, stat, dirs: Vec::new() };
        level.unlink_files(fd.as_fd())?;
        level.fd = Some(fd);
        Ok(level)
    }

    fn unlink_files(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut opened_up = false;
        for entry in list_open_dir(fd)? {
            if entry.kind == Kind::Dir {
                self.dirs.push(entry.name);
                continue;
            }
            let mut result = unlinkat(fd, &*entry.name, AtFlags::empty());
            if result == Err(Errno::ACCESS) && !opened_up {
                opened_up = true;
                rustix::fs::fchmod(fd, Mode::RWXU)?;
                result = unlinkat(fd, &*entry.name, AtFlags::empty());
            }
            match result {
                Ok(()) | Err(Errno::NOENT) => (),
                Err(Errno::ISDIR) => self.dirs.push(entry.name),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Removal<'_> {
    fn run(mut self) -> io::Result<()> {
        while let Some(level) = self.levels.back_mut() {
            match level.dirs.pop() {
                Some(name) => self.descend(name)?,
                None => self.finish_level()?,
            }
        }
        Ok(())
    }

    fn descend(&mut self, name: OsString) -> io::Result<()> {
        let level = self.levels.back().expect("there is a current level");
        let fd = level.fd.as_ref().expect("the current level is open").as_fd();
        let next = match Level::open(fd, name) {
            Ok(next) => next,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.levels.push_back(next);
        if let Some(far) = self.levels.len().checked_sub(HELD_LEVELS + 1) {
            self.levels[far].fd = None;
        }
        Ok(())
    }

    /// Removes the current, empty directory from its parent.
    fn finish_level(&mut self) -> io::Result<()> {
        let done = self.levels.pop_back().expect("there is a current level");
        let Some(parent) = self.levels.back_mut() else { return remove_empty(self.dir, &done.name) };
        if parent.fd.is_none() {
            let below = done.fd.as_ref().expect("the current level is open");
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(below, c"..", flags, Mode::empty())?;
            // Somebody moved the tree while it was being removed: stop rather than delete elsewhere.
            if !Stat::of(&fd)?.same_inode(&parent.stat) {
                return Err(Errno::STALE.into());
            }
            parent.fd = Some(fd);
        }
        remove_empty(parent.fd.as_ref().expect("just opened").as_fd(), &done.name)
    }
}

fn remove_empty(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut result = unlinkat(parent, name, AtFlags::REMOVEDIR);
    if result == Err(Errno::ACCESS) {
        rustix::fs::fchmod(parent, Mode::RWXU)?;
        result = unlinkat(parent, name, AtFlags::REMOVEDIR);
    }
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
