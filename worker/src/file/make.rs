//! Actions that make or remove one path: WORKDIR's directory, a heredoc's file, links, removals.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use rbuild_graph::{MakeDir, MakeFile, Owner, Remove, Symlink, Timestamp};
use rbuild_snapshotter::{Attrs, EntryKind, SnapshotError};

use super::{ActionStep, resolve_owner};
use crate::WorkError;

/// Makes a directory, and with `parents` those above it; what exists stays as it is (spec G-57).
pub(super) fn directory(at: &ActionStep<'_>, make: &MakeDir) -> Result<(), WorkError> {
    let attrs = match at.attrs(make.mode, make.owner.as_ref(), make.created) {
        // The owner is what USER says, and that is checked where a process starts: until then an unknown name owns nothing (BuildKit: root).
        Err(WorkError::UnknownName { .. }) => at.attrs(make.mode, None, make.created)?,
        known_or_failed => known_or_failed?,
    };
    let path = at.resolve(&make.path, true)?;
    match at.kind(&path)? {
        Some(EntryKind::Dir) if make.parents => return Ok(()),
        None => {}
        Some(_) => return Err(WorkError::NonDirectory(path)),
    }
    if make.parents {
        at.settle(&at.make_dirs(&path, &attrs)?, make.created)
    } else {
        at.writer.make_dir(&path, &attrs).map_err(failed("make directory", &path))
    }
}

/// Writes a file; its parents are made 0755 root.
pub(super) fn file(at: &ActionStep<'_>, make: &MakeFile) -> Result<(), WorkError> {
    let attrs = at.attrs(make.mode, make.owner.as_ref(), make.created)?;
    let path = at.resolve(&make.path, true)?;
    let made = at.make_parent(&path, make.created)?;
    if at.kind(&path)? == Some(EntryKind::Dir) {
        return Err(WorkError::ReplaceDirectory(path));
    }
    let size = make.content.len() as u64;
    at.writer.write_file(&path, &mut Cursor::new(&make.content), size, &attrs).map_err(failed("write", &path))?;
    at.settle(&made, make.created)
}

/// Makes a symbolic link. An existing one is replaced, a directory is not.
pub(super) fn symlink(at: &ActionStep<'_>, make: &Symlink) -> Result<(), WorkError> {
    let attrs = at.attrs(0o777, make.owner.as_ref(), make.created)?;
    let path = at.resolve(&make.path, false)?;
    let made = at.make_parent(&path, make.created)?;
    if at.kind(&path)? == Some(EntryKind::Dir) {
        return Err(WorkError::ReplaceDirectory(path));
    }
    at.writer.symlink(&path, Path::new(&make.target), &attrs).map_err(failed("make link", &path))?;
    at.settle(&made, make.created)
}

pub(super) fn remove(at: &ActionStep<'_>, remove: &Remove) -> Result<(), WorkError> {
    if remove.wildcard {
        return Err(WorkError::NotSupported("removing by a wildcard".to_owned()));
    }
    let path = at.resolve(&remove.path, false)?;
    let removed = at.writer.remove(&path).map_err(failed("remove", &path))?;
    if removed || remove.allow_missing {
        return Ok(());
    }
    Err(WorkError::SourceMissing {
        reference: "the file system".to_owned(),
        path: remove.path.clone(),
        excluded: None,
        similar: Vec::new(),
    })
}

impl ActionStep<'_> {
    pub(super) fn resolve(&self, path: &str, follow: bool) -> Result<PathBuf, WorkError> {
        self.writer.resolve(Path::new(path), follow).map_err(failed("resolve", Path::new(path)))
    }

    pub(super) fn kind(&self, path: &Path) -> Result<Option<EntryKind>, WorkError> {
        Ok(self.writer.entry(path).map_err(failed("look at", path))?.map(|entry| entry.kind))
    }

    /// Makes missing directories and returns them, parents first. A directory's time changes when something is made in it:
    /// `settle` sets it again.
    pub(super) fn make_dirs(&self, path: &Path, attrs: &Attrs) -> Result<Vec<PathBuf>, WorkError> {
        self.writer.make_dirs(path, attrs).map_err(failed("make directory", path))
    }

    /// Gives directories that were made on the way their time.
    pub(super) fn settle(&self, made: &[PathBuf], created: Timestamp) -> Result<(), WorkError> {
        let time = self.time(created);
        made.iter().try_for_each(|path| self.writer.set_times(path, time).map_err(failed("set the time of", path)))
    }

    fn make_parent(&self, path: &Path, created: Timestamp) -> Result<Vec<PathBuf>, WorkError> {
        let Some(parent) = path.parent() else { return Ok(Vec::new()) };
        self.make_dirs(parent, &self.attrs(0o755, None, created)?)
    }

    fn attrs(&self, mode: u32, owner: Option<&Owner>, created: Timestamp) -> Result<Attrs, WorkError> {
        let (uid, gid) = resolve_owner(self.writer, owner)?;
        Ok(Attrs { mode, uid, gid, mtime: Some(self.time(created)), xattrs: Vec::new() })
    }
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(SnapshotError) -> WorkError {
    let path = path.to_owned();
    move |source| WorkError::Write { action, path, source }
}
