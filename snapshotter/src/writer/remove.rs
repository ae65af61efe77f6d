//! Removing entries.

use std::io;
use std::path::Path;

use rbuild_fs::place;

use super::SnapshotWriter;
use super::lookup::relative;
use crate::error::{Result, errno, on};
use crate::{at, inode};

impl SnapshotWriter {
    /// Removes a path, recursively; a whiteout where the parents have it. False when there was nothing. The root is EBUSY.
    pub fn remove(&self, path: &Path) -> Result<bool> {
        let clean = relative(path).map_err(on("remove", path))?;
        match self.remove_at(&clean) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => Ok(false),
            other => other.map_err(on("remove", path)),
        }
    }

    /// As [`SnapshotWriter::remove`], of a relative path.
    pub(crate) fn remove_at(&self, path: &Path) -> io::Result<bool> {
        let name = path.file_name().ok_or_else(|| errno(libc::EBUSY))?;
        let above = path.parent().unwrap_or(Path::new(""));
        let Some(dir) = self.dirs.lookup(above)? else { return Ok(false) };
        let below = dir.below(name)?.is_some();
        let mut removed = false;
        if let Some(upper) = dir.upper()
            && let Some(stat) = at::stat(upper, name)?
        {
            if self.dirs.is_deletion(&stat) {
                return Ok(false);
            }
            if stat.kind == rbuild_fs::Kind::Dir {
                rbuild_fs::remove_tree(upper, name)?;
            } else {
                place::unlink(upper, name)?;
            }
            removed = true;
        }
        self.dirs.forget(path);
        if below {
            inode::create_whiteout(self.dirs.writable(above)?.made(), name)?;
        }
        Ok(removed || below)
    }
}
