//! The format file and the making of a new state directory.
//!
//! ```text
//! rbuild state directory
//! version 1
//! driver overlay
//! journal wal
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::database::{self, Journal};
use crate::error::AtPath;
use crate::lock::LockFile;
use crate::{Result, StoreError};

/// Version of the layout that this program reads and writes.
const VERSION: u32 = 1;
const TITLE: &str = "rbuild state directory";
const FORMAT: &str = "format";
/// See [`keep_reserve`].
const RESERVE: &str = "reserve";
const RESERVE_SIZE: u64 = 1 << 20;
const INIT_LOCK: &str = "init.lock";
/// Directories that a store has from the start.
const DIRECTORIES: [&str; 8] = ["blobs", "snapshots", "sessions", "locks", "trash", "cache", "contexts", "logs"];
/// What a directory may hold before it is made: the lock of another maker, or what a fresh file system has.
const KNOWN_NAMES: [&str; 2] = [INIT_LOCK, "lost+found"];

/// What the format file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) driver: String,
    pub(crate) journal: Journal,
}

/// The directory's format; makes the directory when there is none. `probe` names the snapshot driver of a new directory.
pub(crate) fn open_or_create(root: &Path, probe: &dyn Fn(&Path) -> io::Result<String>) -> Result<Format> {
    match read(root)? {
        Some(format) => Ok(format),
        None => create(root, probe),
    }
}

/// `None` when there is no (complete) state directory.
pub(crate) fn read(root: &Path) -> Result<Option<Format>> {
    let path = root.join(FORMAT);
    match fs_err::read_to_string(&path) {
        Ok(text) => parse(&text).map(Some).map_err(|reason| StoreError::UnknownFormat { path: root.to_owned(), reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", &path),
    }
}

/// Of several processes that get here at once, one makes the directory and the others wait for it.
fn create(root: &Path, probe: &dyn Fn(&Path) -> io::Result<String>) -> Result<Format> {
    make_dir(root)?;
    let lock_path = root.join(INIT_LOCK);
    if !fs_err::exists(&lock_path).at("read", &lock_path)? {
        refuse_foreign(root)?;
    }
    let _init = LockFile::wait(&lock_path).at("lock", &lock_path)?;
    if let Some(format) = read(root)? {
        return Ok(format);
    }
    for name in DIRECTORIES {
        make_dir(&root.join(name))?;
    }
    for algorithm in ["sha256", "sha512"] {
        make_dir(&root.join("blobs").join(algorithm))?;
    }
    keep_reserve(root);
    let driver = probe(root).at("choose a snapshot driver for", root)?;
    let format = Format { driver, journal: database::create(root)? };
    write(root, &format)?;
    Ok(format)
}

/// Keeps room for the collector's own transaction: on a disk that is full, deleting rows needs some. Without it `prune` works as
/// long as the disk is not full, so a failure is not one.
pub(crate) fn keep_reserve(root: &Path) {
    let reserve = || -> io::Result<()> {
        let file = fs_err::OpenOptions::new().write(true).create(true).truncate(false).open(root.join(RESERVE))?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_SIZE)?;
        Ok(())
    };
    if let Err(error) = reserve() {
        tracing::debug!(%error, "no room is kept for the collector");
    }
}

/// Gives that room up; true when there was some.
pub(crate) fn release_reserve(root: &Path) -> bool {
    fs_err::remove_file(root.join(RESERVE)).is_ok()
}

/// Others must not read what is in there: file systems with setuid programs, and cached secrets of builds.
fn make_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("create", path)
}

/// `--root /home` must not scatter a store over somebody's files. Whoever has made the lock has been through this.
fn refuse_foreign(root: &Path) -> Result<()> {
    for entry in fs_err::read_dir(root).at("list", root)? {
        let name = entry.at("list", root)?.file_name();
        if !name.to_str().is_some_and(|name| KNOWN_NAMES.contains(&name)) {
            return Err(StoreError::NotAStore { path: root.to_owned(), entry: name.to_string_lossy().into_owned() });
        }
    }
    Ok(())
}

/// The file appears complete or not at all.
fn write(root: &Path, format: &Format) -> Result<()> {
    let staged: PathBuf = root.join("format.new");
    fs_err::write(&staged, render(format)).at("write", &staged)?;
    let path = root.join(FORMAT);
    fs_err::rename(&staged, &path).at("rename", &path)
}

fn render(format: &Format) -> String {
    let Format { driver, journal } = format;
    format!("{TITLE}\nversion {VERSION}\ndriver {driver}\njournal {}\n", journal.as_str())
}

fn parse(text: &str) -> Result<Format, String> {
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err("its first line is not ours".to_owned());
    }
    let mut field = |name: &str| {
        let line = lines.next().unwrap_or_default();
        line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')).map(str::to_owned).ok_or(format!("no `{name}` line"))
    };
    let version = field("version")?;
    if version != VERSION.to_string() {
        return Err(format!("version {version}, this rbuild knows {VERSION}"));
    }
    let driver = field("driver")?;
    let journal = field("journal")?;
    let journal = Journal::parse(&journal).ok_or(format!("journal mode `{journal}`"))?;
    Ok(Format { driver, journal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_file_round_trips() {
        let format = Format { driver: "overlay-userxattr".to_owned(), journal: Journal::Wal };
        assert_eq!(parse(&render(&format)), Ok(format));
    }

    #[test]
    fn other_formats_are_refused() {
        let check = |text: &str, reason: &str| assert_eq!(parse(text).unwrap_err(), reason, "{text:?}");
        check("", "its first line is not ours");
        check("rbuild state directory\nversion 2\n", "version 2, this rbuild knows 1");
        check("rbuild state directory\nversion 1\n", "no `driver` line");
        check("rbuild state directory\nversion 1\ndriver copy\njournal x\n", "journal mode `x`");
    }
}
