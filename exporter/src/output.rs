//! Where one stream of bytes goes: a file that appears only when it is complete, or standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rbuild_snapshotter::Snapshotter;

use crate::error::{AtPath, ExportError, InStream, Result};

/// Where an artifact goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A file, replaced when the artifact is complete; a device or pipe is written directly.
    File(PathBuf),
    /// A directory, for layouts.
    Directory(PathBuf),
    /// Standard output.
    Stdout,
}

/// Gives `write` a place for its bytes. A file appears under its name only when `write` succeeded.
pub(crate) fn write_to(
    snapshotter: &Snapshotter,
    to: &Destination,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    match to {
        Destination::Directory(path) => {
            Err(ExportError::Destination { path: path.clone(), reason: "a tar is written to a file, not to a directory" })
        }
        Destination::Stdout => {
            let stdout = rustix::io::dup(rustix::stdio::stdout()).map_err(io::Error::from);
            write_stream(File::from(stdout.stream(|| "open standard output".into())?), Path::new("standard output"), write)
        }
        Destination::File(path) => write_file(snapshotter, path, write),
    }
}

fn write_stream(file: File, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::with_capacity(256 << 10, file);
    write(&mut out)?;
    out.flush().at("write", path)
}

fn write_file(snapshotter: &Snapshotter, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    // A link stays: what it points to is replaced.
    let path = &fs_err::canonicalize(path).unwrap_or_else(|_absent| path.to_owned());
    match fs_err::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(ExportError::Destination {
                path: path.clone(),
                reason: "it is a directory, but a file is to be written",
            });
        }
        Ok(found) if !found.is_file() => {
            let device = fs_err::OpenOptions::new().write(true).open(path).at("open", path)?;
            return write_stream(device.into_parts().0, path, write);
        }
        Ok(_) | Err(_) => {}
    }
    let temporary = Temporary::beside(path, &snapshotter.session().new_snapshot_id().0)?;
    let file = fs_err::OpenOptions::new().write(true).create_new(true).open(&temporary.0).at("create", &temporary.0)?;
    write_stream(file.into_parts().0, path, write)?;
    temporary.place(path)
}

/// A file that is removed unless it is placed.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// A name in the same directory.
    pub(crate) fn beside(path: &Path, random: &str) -> Result<Temporary> {
        let no_name = || ExportError::Destination { path: path.into(), reason: "it has no file name" };
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().ok_or_else(no_name)?);
        name.push(format!(".{}", &random[..16.min(random.len())]));
        Ok(Temporary(path.with_file_name(name)))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Renames it over `path`.
    pub(crate) fn place(self, path: &Path) -> Result<()> {
        fs_err::rename(&self.0, path).at("rename to", path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "a temporary file stays");
        }
    }
}
