//! Locks by flock(2): they die with the descriptor, whoever held it, in whichever pid namespace.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::AtPath;
use crate::{Result, Store};

/// An exclusive lock of one key. Released by drop, or by the death of the process.
#[derive(Debug)]
pub struct KeyLock {
    file: LockFile,
}

impl Drop for KeyLock {
    /// The file goes while it is still locked: whoever waits for it sees that its file is no longer the one at the path.
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_file(&self.file.path) {
            tracing::debug!(%error, "a lock file stays");
        }
    }
}

impl Store {
    /// Blocks until the exclusive lock `name` is held; released by drop or death. Blocking: call from a blocking thread.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn lock(&self, name: &str) -> Result<KeyLock> {
        let path = self.lock_path(name);
        let file = LockFile::wait(&path).at("lock", &path)?;
        Ok(KeyLock { file })
    }

    /// `None` when another process or thread has it.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn try_lock(&self, name: &str) -> Result<Option<KeyLock>> {
        let path = self.lock_path(name);
        let file = LockFile::try_now(&path).at("lock", &path)?;
        Ok(file.map(|file| KeyLock { file }))
    }

    /// Names that are not plain file names are hashed.
    fn lock_path(&self, name: &str) -> PathBuf {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let locks = self.root().join("locks");
        if !name.is_empty() && name.len() <= 128 && name.bytes().all(plain) {
            locks.join(name)
        } else {
            locks.join(format!("h.{}", blake3::hash(name.as_bytes()).to_hex()))
        }
    }
}

/// A locked file that is known to be the one at its path.
#[derive(Debug)]
pub(crate) struct LockFile {
    _file: File,
    path: PathBuf,
}

impl LockFile {
    /// Waits for the lock of `path`, making the file when needed.
    pub(crate) fn wait(path: &Path) -> io::Result<LockFile> {
        LockFile::wait_for(path, FlockOperation::LockExclusive)
    }

    /// Waits until nobody holds the lock of `path` alone.
    pub(crate) fn wait_shared(path: &Path) -> io::Result<LockFile> {
        LockFile::wait_for(path, FlockOperation::LockShared)
    }

    fn wait_for(path: &Path, operation: FlockOperation) -> io::Result<LockFile> {
        loop {
            let file = open(path, true)?;
            flock_retrying(&file, operation)?;
            if let Some(locked) = LockFile::if_current(file, path)? {
                return Ok(locked);
            }
        }
    }

    /// `None` when somebody else has it.
    pub(crate) fn try_now(path: &Path) -> io::Result<Option<LockFile>> {
        loop {
            let file = open(path, true)?;
            if !flock_now(&file)? {
                return Ok(None);
            }
            if let Some(locked) = LockFile::if_current(file, path)? {
                return Ok(Some(locked));
            }
        }
    }

    /// Whether the file that was locked is still the one at the path: its holder may have removed it while we waited.
    fn if_current(file: File, path: &Path) -> io::Result<Option<LockFile>> {
        let own = file.metadata()?;
        match fs_err::symlink_metadata(path) {
            Ok(there) if there.ino() == own.ino() && there.dev() == own.dev() => {
                Ok(Some(LockFile { _file: file, path: path.to_owned() }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether some process holds the lock of this file. A file that is not there is not held.
pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
    match open(path, false) {
        Ok(file) => Ok(!flock_now(&file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Descriptors are close-on-exec (std's default), so a child never keeps a lock.
fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = fs_err::OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    Ok(options.open(path)?.into_parts().0)
}

fn flock_now(file: &File) -> io::Result<bool> {
    match flock_retrying(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn flock_retrying(file: &File, operation: FlockOperation) -> io::Result<()> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_lock_file_is_not_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let first = LockFile::try_now(&path).unwrap().unwrap();
        assert!(LockFile::try_now(&path).unwrap().is_none());
        assert!(is_held(&path).unwrap());
        fs_err::remove_file(&path).unwrap();
        assert!(!is_held(&path).unwrap());
        let second = LockFile::try_now(&path).unwrap();
        assert!(second.is_some());
        drop(first);
        assert!(is_held(&path).unwrap());
    }

    #[test]
    fn an_absent_file_is_not_held() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_held(&dir.path().join("none")).unwrap());
    }
}
