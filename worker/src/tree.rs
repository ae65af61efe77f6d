//! A file-system state as copies and content keys read it: a context, a snapshot, one downloaded file, or nothing.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rbuild_fs::{Enter, Kind, Root, Stat, WalkEntry, xattr};
use rbuild_snapshotter::View;

use crate::context::ContextTree;
use crate::options::FileOutput;
use crate::{Exclusion, WorkError};

/// Most symbolic links followed for one path (path_resolution(7) has 40; BuildKit 255).
const LINK_LIMIT: usize = 255;

/// What is read. Paths are absolute beneath the tree's root and clean.
pub(crate) enum Tree {
    Empty,
    Context(Arc<ContextTree>),
    Snapshot(SnapshotTree),
    File(FileTree),
}

/// A snapshot through its read-only view.
pub(crate) struct SnapshotTree {
    /// Shown in messages.
    pub(crate) id: String,
    pub(crate) view: Arc<View>,
}

/// One downloaded file.
pub(crate) struct FileTree {
    pub(crate) file: FileOutput,
    /// The blob's content.
    pub(crate) blob: File,
}

/// Everything below a directory: paths relative to it, parents before children, sorted by components.
pub(crate) type Listing = Arc<Vec<WalkEntry>>;

/// Extended attributes in the order of their names.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What one open file turned out to be.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) xattrs: Xattrs,
}

impl Tree {
    /// What the messages call it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Tree::Empty => "scratch",
            Tree::Context(context) => context.name(),
            Tree::Snapshot(snapshot) => &snapshot.id,
            Tree::File(tree) => &tree.file.name,
        }
    }

    /// Status of a path, its last link not followed; `None` when it is not there (or ignored).
    pub(crate) fn stat(&self, path: &Path) -> Result<Option<Stat>, WorkError> {
        match self {
            Tree::Empty => Ok((path == Path::new("/")).then(|| directory_stat(0))),
            Tree::Context(context) => context.stat(path),
            Tree::Snapshot(snapshot) => snapshot.root().stat(path, false).map_err(read_error(path)),
            Tree::File(tree) => Ok(tree.stat(path)),
        }
    }

    pub(crate) fn read_link(&self, path: &Path) -> Result<PathBuf, WorkError> {
        match self {
            Tree::Context(context) => context.root().read_link(path).map_err(read_error(path)),
            Tree::Snapshot(snapshot) => snapshot.root().read_link(path).map_err(read_error(path)),
            Tree::Empty | Tree::File(_) => Err(read_error(path)(std::io::ErrorKind::InvalidInput.into())),
        }
    }

    /// Names in a directory with their status, sorted.
    pub(crate) fn read_dir(&self, path: &Path) -> Result<Vec<(OsString, Stat)>, WorkError> {
        let root = match self {
            Tree::Empty => return Ok(Vec::new()),
            Tree::File(tree) => return Ok(vec![(OsString::from(&tree.file.name), tree.file_stat())]),
            Tree::Context(context) => context.root(),
            Tree::Snapshot(snapshot) => snapshot.root(),
        };
        let mut found = Vec::new();
        for entry in root.read_dir(path).map_err(read_error(path))? {
            if let Some(stat) = self.stat(&path.join(&entry.name))? {
                found.push((entry.name, stat));
            }
        }
        Ok(found)
    }

    /// All that is below a directory.
    pub(crate) fn list(&self, path: &Path) -> Result<Listing, WorkError> {
        match self {
            Tree::Empty => Ok(Arc::default()),
            Tree::Context(context) => context.list(path),
            Tree::Snapshot(snapshot) => {
                rbuild_fs::walk(snapshot.root(), path, &|_, _| Enter::Yes).map(Arc::new).map_err(read_error(path))
            }
            Tree::File(tree) => Ok(Arc::new(vec![WalkEntry { path: PathBuf::from(&tree.file.name), stat: tree.file_stat() }])),
        }
    }

    /// Opens a regular file.
    pub(crate) fn open(&self, path: &Path) -> Result<Opened, WorkError> {
        let root = match self {
            Tree::Empty => return Err(read_error(path)(std::io::ErrorKind::NotFound.into())),
            Tree::File(tree) => {
                let file = tree.blob.try_clone().map_err(read_error(path))?;
                return Ok(Opened { file, xattrs: Vec::new() });
            }
            Tree::Context(context) => context.root(),
            Tree::Snapshot(snapshot) => snapshot.root(),
        };
        let file = root.open_file(path).map_err(read_error(path))?;
        let xattrs = kept_xattrs(xattr::list(file.as_fd()).map_err(read_error(path))?);
        Ok(Opened { file, xattrs })
    }

    /// Extended attributes of a directory.
    pub(crate) fn directory_xattrs(&self, path: &Path) -> Result<Xattrs, WorkError> {
        let root = match self {
            Tree::Empty | Tree::File(_) => return Ok(Vec::new()),
            Tree::Context(context) => context.root(),
            Tree::Snapshot(snapshot) => snapshot.root(),
        };
        directory_xattrs(root, path)
    }

    /// Why a path that is on disk is not in the tree.
    pub(crate) fn exclusion(&self, path: &Path) -> Result<Option<Exclusion>, WorkError> {
        match self {
            Tree::Context(context) => context.exclusion(path),
            Tree::Empty | Tree::Snapshot(_) | Tree::File(_) => Ok(None),
        }
    }

    /// Follows the links of a path inside the root, the last one only with `follow`. `None` when something on the way is missing.
    pub(crate) fn resolve(&self, path: &Path, follow: bool) -> Result<Option<(PathBuf, Stat)>, WorkError> {
        let mut rest: Vec<OsString> = names(path).rev().collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let Some(stat) = self.raw_stat(&next)? else { return Ok(None) };
            match stat.kind {
                Kind::Symlink if follow || !rest.is_empty() => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(read_error(path)(rustix::io::Errno::LOOP.into()));
                    }
                    if self.stat(&next)?.is_none() {
                        return Ok(None);
                    }
                    let target = self.read_link(&next)?;
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    rest.extend(names(&target).rev());
                }
                Kind::Dir => at = next,
                Kind::Symlink | Kind::File | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => {
                    if !rest.is_empty() {
                        return Ok(None);
                    }
                    at = next;
                }
            }
        }
        Ok(self.stat(&at)?.map(|stat| (at, stat)))
    }

    /// Status without the ignore rules: a parent of what is re-included need not be listed itself.
    fn raw_stat(&self, path: &Path) -> Result<Option<Stat>, WorkError> {
        match self {
            Tree::Context(context) => context.raw_stat(path),
            Tree::Empty | Tree::Snapshot(_) | Tree::File(_) => self.stat(path),
        }
    }
}

impl SnapshotTree {
    fn root(&self) -> &Root {
        self.view.root()
    }
}

impl FileTree {
    fn stat(&self, path: &Path) -> Option<Stat> {
        if path == Path::new("/") {
            return Some(directory_stat(self.file.mtime));
        }
        (path.strip_prefix("/") == Ok(Path::new(&self.file.name))).then(|| self.file_stat())
    }

    fn file_stat(&self) -> Stat {
        let FileOutput { blob: _, size, name: _, mode, uid, gid, mtime } = &self.file;
        Stat { kind: Kind::File, mode: *mode, uid: *uid, gid: *gid, size: *size, nlink: 1, ino: 1, ..directory_stat(*mtime) }
    }
}

fn directory_stat(mtime: i64) -> Stat {
    Stat {
        kind: Kind::Dir,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: (mtime, 0),
        ctime: (0, 0),
        dev: 0,
        ino: 0,
        nlink: 2,
        rdev: 0,
    }
}

/// Extended attributes of a directory that copies keep.
pub(crate) fn directory_xattrs(root: &Root, path: &Path) -> Result<Xattrs, WorkError> {
    let directory = root.open_dir(path).map_err(read_error(path))?;
    xattr::list(directory.as_fd()).map(kept_xattrs).map_err(read_error(path))
}

/// `user.*` and file capabilities, sorted; the rest belongs to the machine they were read on (spec §4.3).
pub(crate) fn kept_xattrs(mut xattrs: Xattrs) -> Xattrs {
    xattrs.retain(|(name, _)| {
        (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")) || name.as_slice() == b"security.capability"
    });
    xattrs.sort_unstable();
    xattrs
}

/// The names in a path, without root and `.`.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

pub(crate) fn read_error(path: &Path) -> impl Fn(std::io::Error) -> WorkError + '_ {
    move |source| WorkError::Read { path: path.to_owned(), source }
}
