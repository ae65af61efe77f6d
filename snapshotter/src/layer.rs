//! Writing a state's changes as a layer, and a whole tree as a tar.
//!
//! The format is containerd's (spec G-64, G-66): entries in byte order of their path components, whole seconds, no names of owners, a second
//! name of an inode as a link, sockets left out, deletions as empty files `.wh.NAME` with mode 0 and time 0, never an opaque marker. Of the
//! extended attributes, only the capability is kept.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rbuild_fs::archive::{EntryKind, Header, TarWriter};
use rbuild_fs::{Kind, Stat, place};

use crate::error::{Result, SnapshotError, on};
use crate::{Change, ChangeKind, TimePolicy, at, xattrs};

/// What begins the name of a deletion.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Bytes that are given to the receiver at once.
const BUFFER: usize = 256 * 1024;

/// What a tar is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be applied on other layers: names and devices that mean deletions there are refused.
    Layer,
    /// To be extracted.
    Tree,
}

/// Writes the entries that `changes` names, taken from the tree beneath `root`.
pub(crate) fn write(
    root: BorrowedFd<'_>,
    changes: &[Change],
    purpose: Purpose,
    times: &TimePolicy,
    out: &mut dyn Write,
) -> Result<()> {
    let tar = TarWriter::new(BufWriter::with_capacity(BUFFER, out));
    let mut writer = LayerWriter { root, purpose, times, tar, parent: None, linked: HashMap::new() };
    for change in changes {
        writer.change(change)?;
    }
    let failed = |source| SnapshotError::Output { path: PathBuf::new(), source };
    writer.tar.finish().and_then(|mut out| out.flush()).map_err(failed)
}

struct LayerWriter<'a, W: Write> {
    root: BorrowedFd<'a>,
    purpose: Purpose,
    times: &'a TimePolicy,
    tar: TarWriter<W>,
    /// The directory of the previous entry: its neighbours come next.
    parent: Option<(PathBuf, OwnedFd)>,
    /// First name of each inode that has several.
    linked: HashMap<u64, PathBuf>,
}

impl<W: Write> LayerWriter<'_, W> {
    fn change(&mut self, change: &Change) -> Result<()> {
        let path = &*change.path;
        let name = path.file_name().ok_or_else(|| on("archive", path)(crate::error::errno(libc::EINVAL)))?;
        if self.purpose == Purpose::Layer && name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return Err(SnapshotError::Reserved(path.to_path_buf()));
        }
        match change.kind {
            ChangeKind::Deleted => self.whiteout(path, name),
            ChangeKind::Added | ChangeKind::Modified | ChangeKind::Parent => self.entry(path, name),
        }
    }

    fn whiteout(&mut self, path: &Path, name: &OsStr) -> Result<()> {
        let mut marked = OsString::from(OsStr::from_bytes(WHITEOUT_PREFIX));
        marked.push(name);
        let header = Header {
            path: path.with_file_name(marked),
            kind: EntryKind::File,
            link: None,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: (0, 0),
            rdev: (0, 0),
            xattrs: Vec::new(),
        };
        self.append(&header, &mut io::empty())
    }

    fn entry(&mut self, path: &Path, name: &OsStr) -> Result<()> {
        let dir = self.open_parent(path).map_err(on("open the directory of", path))?;
        let stat = Stat::at(&dir, name).map_err(on("look up", path));
        let entry = stat.and_then(|stat| self.put(&dir, path, name, &stat));
        self.parent = Some((path.parent().unwrap_or(Path::new("")).to_path_buf(), dir));
        entry
    }

    fn put(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr, stat: &Stat) -> Result<()> {
        if self.purpose == Purpose::Layer && at::is_whiteout(stat) {
            return Err(SnapshotError::WhiteoutDevice(path.to_path_buf()));
        }
        let Some(kind) = entry_kind(stat.kind) else { return Ok(()) };
        let mut header = self.header(path, kind, stat);
        if let Some(first) = self.first_name(path, stat) {
            header.kind = EntryKind::HardLink;
            header.link = Some(first);
            return self.append(&header, &mut io::empty());
        }
        match stat.kind {
            Kind::File => {
                let file = File::from(place::open_file(dir, name).map_err(on("open", path))?);
                header.size = stat.size;
                header.xattrs = xattrs::leaving(file.as_fd()).map_err(on("read the attributes of", path))?;
                self.append(&header, &mut &file)
            }
            Kind::Symlink => {
                header.link = Some(place::read_link(dir, name).map_err(on("read the link", path))?);
                self.append(&header, &mut io::empty())
            }
            Kind::Dir | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => {
                header.xattrs = xattrs::leaving_at(dir.as_fd(), name).map_err(on("read the attributes of", path))?;
                self.append(&header, &mut io::empty())
            }
        }
    }

    fn header(&self, path: &Path, kind: EntryKind, stat: &Stat) -> Header {
        let rdev = match stat.kind {
            Kind::CharDevice | Kind::BlockDevice => (rustix::fs::major(stat.rdev), rustix::fs::minor(stat.rdev)),
            Kind::File | Kind::Dir | Kind::Symlink | Kind::Fifo | Kind::Socket => (0, 0),
        };
        Header {
            path: path.to_path_buf(),
            kind,
            link: None,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: 0,
            mtime: (self.times.apply(stat.mtime.0), 0),
            rdev,
            xattrs: Vec::new(),
        }
    }

    fn first_name(&mut self, path: &Path, stat: &Stat) -> Option<PathBuf> {
        if stat.kind == Kind::Dir || stat.nlink < 2 {
            return None;
        }
        let first = self.linked.get(&stat.ino).cloned();
        if first.is_none() {
            self.linked.insert(stat.ino, path.to_path_buf());
        }
        first
    }

    fn open_parent(&mut self, path: &Path) -> io::Result<OwnedFd> {
        let above = path.parent().unwrap_or(Path::new(""));
        match self.parent.take() {
            Some((open, dir)) if open == above => Ok(dir),
            _ => at::open_beneath(self.root, above),
        }
    }

    fn append(&mut self, header: &Header, body: &mut dyn Read) -> Result<()> {
        self.tar.append(header, body).map_err(|source| SnapshotError::Output { path: header.path.clone(), source })
    }
}

/// Sockets are in no tar.
fn entry_kind(kind: Kind) -> Option<EntryKind> {
    match kind {
        Kind::File => Some(EntryKind::File),
        Kind::Dir => Some(EntryKind::Dir),
        Kind::Symlink => Some(EntryKind::Symlink),
        Kind::CharDevice => Some(EntryKind::CharDevice),
        Kind::BlockDevice => Some(EntryKind::BlockDevice),
        Kind::Fifo => Some(EntryKind::Fifo),
        Kind::Socket => None,
    }
}
