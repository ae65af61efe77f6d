//! A context on standard input: a tar, possibly compressed, unpacked into a directory of the session; or a Dockerfile.
//!
//! The tar is hostile: every name is resolved beneath the directory by the kernel, nothing in it becomes a device or a set-id program,
//! and what it may contain is bounded.

use std::ffi::OsStr;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use rbuild_fs::archive::{EntryKind, Header, TarReader, decode_any, is_tar};
use rbuild_fs::place::{self, Meta};
use rbuild_fs::{Kind, Root};

use super::Session;
use crate::failure::{Class, Failure};

/// Enough decoded bytes to see whether they begin a tar: a header and what may precede it.
const PREFIX: u64 = 64 << 10;
/// Most entries that a tar may have.
const MOST_ENTRIES: u64 = 4 << 20;

/// What standard input is.
pub(super) enum Stdin {
    /// Not a tar: all its bytes.
    Dockerfile(Box<dyn Read + Send>),
    /// A tar, unpacked into this directory.
    Tar(PathBuf),
}

/// Looks at the first bytes and unpacks what is a tar.
pub(super) fn read(stdin: Box<dyn Read + Send>, session: &Session) -> Result<Stdin, Failure> {
    let broken = |error: io::Error| Failure::usage(anyhow::Error::new(error).context("standard input cannot be read"));
    let (_, mut decoded) = decode_any(stdin).map_err(broken)?;
    let mut prefix = Vec::new();
    (&mut decoded).take(PREFIX).read_to_end(&mut prefix).map_err(broken)?;
    let tar = is_tar(Cursor::new(&prefix));
    let whole: Box<dyn Read + Send> = Box::new(Cursor::new(prefix).chain(decoded));
    if !tar {
        return Ok(Stdin::Dockerfile(whole));
    }
    let directory = session.staging_dir()?;
    unpack(whole, &directory)
        .context("the tar on standard input cannot be unpacked")
        .map_err(|error| Failure::new(Class::Dockerfile, error))?;
    Ok(Stdin::Tar(directory))
}

fn unpack(tar: Box<dyn Read + Send>, directory: &Path) -> anyhow::Result<()> {
    let root = Root::open(directory)?;
    let mut reader = TarReader::new(BufReader::with_capacity(256 << 10, tar));
    let mut directories = Vec::new();
    let mut count = 0;
    while let Some(header) = reader.next_entry()? {
        count += 1;
        if count > MOST_ENTRIES {
            bail!("it has more than {MOST_ENTRIES} entries");
        }
        place_entry(&root, &header, reader.body()).with_context(|| format!("entry `{}`", header.path.display()))?;
        if header.kind == EntryKind::Dir {
            directories.push(header);
        }
    }
    // Placing what is in a directory changes its time.
    for header in directories.iter().rev() {
        if let Some((parent, name)) = open_parent(&root, &header.path)? {
            place::set_times(&parent, &name, header.mtime)?;
        }
    }
    Ok(())
}

fn place_entry(root: &Root, header: &Header, body: &mut dyn Read) -> anyhow::Result<()> {
    let Some((parent, name)) = open_parent(root, &header.path)? else { return Ok(()) };
    let name = name.as_os_str();
    let kind = match header.kind {
        EntryKind::Dir => return make_directory(&parent, name, header),
        EntryKind::File => {
            remove_other(&parent, name)?;
            let mut file = std::fs::File::from(place::create_file(&parent, name)?);
            let written = io::copy(body, &mut file)?;
            file.flush()?;
            if written != header.size {
                bail!("it has {written} bytes instead of {}", header.size);
            }
            Kind::File
        }
        EntryKind::Symlink => {
            remove_other(&parent, name)?;
            place::make_symlink(&parent, name, link_target(header)?)?;
            Kind::Symlink
        }
        EntryKind::HardLink => {
            let Some((from_parent, from)) = open_parent(root, link_target(header)?)? else { bail!("it links to the root") };
            remove_other(&parent, name)?;
            return Ok(place::make_hard_link(&from_parent, &from, &parent, name)?);
        }
        EntryKind::Fifo => {
            remove_other(&parent, name)?;
            place::make_node(&parent, name, Kind::Fifo, 0)?;
            Kind::Fifo
        }
        EntryKind::CharDevice | EntryKind::BlockDevice => bail!("a context cannot have devices"),
    };
    apply(&parent, name, kind, header)
}

/// A directory that is there already stays, with the new attributes.
fn make_directory(parent: impl AsFd, name: &OsStr, header: &Header) -> anyhow::Result<()> {
    match place::make_dir(&parent, name) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && place::open_dir(&parent, name).is_ok() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_other(&parent, name)?;
            place::make_dir(&parent, name)?;
        }
        Err(error) => return Err(error.into()),
    }
    apply(&parent, name, Kind::Dir, header)
}

/// The owner stays this process's: a build takes context files as 0:0 anyway.
fn apply(parent: impl AsFd, name: &OsStr, kind: Kind, header: &Header) -> anyhow::Result<()> {
    let stat = Root::from_fd(parent.as_fd().try_clone_to_owned()?).stat(Path::new(name), false)?;
    let stat = stat.ok_or_else(|| anyhow!("it vanished"))?;
    let mode = if kind == Kind::Dir { header.mode | 0o700 } else { header.mode };
    let meta = Meta { mode: mode & 0o1777, uid: stat.uid, gid: stat.gid, mtime: Some(header.mtime), xattrs: &[] };
    Ok(place::apply_at(parent, name, kind, &meta)?)
}

fn link_target(header: &Header) -> anyhow::Result<&Path> {
    header.link.as_deref().ok_or_else(|| anyhow!("it links to nothing"))
}

/// A later entry of a name replaces an earlier one.
fn remove_other(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    rbuild_fs::remove_tree(parent, name).map(drop)
}

/// Opens the directory of an entry, making what is missing; `None` for the root itself.
fn open_parent(root: &Root, path: &Path) -> anyhow::Result<Option<(std::os::fd::OwnedFd, std::ffi::OsString)>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!("it climbs out of the context"),
        }
    }
    let Some(name) = names.pop() else { return Ok(None) };
    let mut parent = root.open_dir(Path::new("."))?;
    for component in names {
        // Links are not followed on the way: a tar that goes through one is not a context that anybody means.
        parent = match place::open_dir(&parent, &component) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                place::make_dir(&parent, &component)?;
                place::open_dir(&parent, &component)?
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(Some((parent, name)))
}

#[cfg(test)]
mod tests {
    use rbuild_fs::archive::TarWriter;

    use super::*;

    fn header(path: &str, kind: EntryKind, link: Option<&str>, size: u64) -> Header {
        Header {
            path: PathBuf::from(path),
            kind,
            link: link.map(PathBuf::from),
            mode: 0o4755,
            uid: 12,
            gid: 34,
            size,
            mtime: (1_700_000_000, 0),
            rdev: (0, 0),
            xattrs: Vec::new(),
        }
    }

    fn tar(entries: &[(Header, &[u8])]) -> Box<dyn Read + Send> {
        let mut writer = TarWriter::new(Vec::new());
        for (header, body) in entries {
            writer.append(header, &mut Cursor::new(body)).unwrap();
        }
        Box::new(Cursor::new(writer.finish().unwrap()))
    }

    fn file(path: &str) -> (Header, &'static [u8]) {
        (header(path, EntryKind::File, None, 4), b"text")
    }

    #[test]
    fn a_tar_becomes_files() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            (header("./", EntryKind::Dir, None, 0), &b""[..]),
            file("./a/b/c"),
            (header("a/link", EntryKind::Symlink, Some("b/c"), 0), b""),
            (header("hard", EntryKind::HardLink, Some("a/b/c"), 0), b""),
            (header("d", EntryKind::Dir, None, 0), b""),
            file("d/inner"),
            file("d/inner"),
        ];
        unpack(tar(&entries), dir.path()).unwrap();
        let at = |path: &str| fs_err::metadata(dir.path().join(path)).unwrap();
        assert_eq!(fs_err::read(dir.path().join("a/link")).unwrap(), b"text");
        assert_eq!((at("a/b/c").mtime(), at("a/b/c").mode() & 0o7777), (1_700_000_000, 0o755));
        assert_eq!(at("hard").ino(), at("a/b/c").ino());
        assert_eq!(at("d").mtime(), 1_700_000_000);
    }

    #[test]
    fn nothing_gets_out() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_string_lossy().into_owned();
        for entries in [
            vec![file("../up")],
            vec![file("a/../../up")],
            vec![(header("l", EntryKind::Symlink, Some(&target), 0), &b""[..]), file("l/f")],
            vec![(header("d", EntryKind::CharDevice, None, 0), b"")],
            vec![(header("h", EntryKind::HardLink, Some("../../etc/passwd"), 0), b"")],
        ] {
            let dir = tempfile::tempdir_in(outside.path()).unwrap();
            assert!(unpack(tar(&entries), dir.path()).is_err(), "{:?}", entries.last().unwrap().0.path);
            drop(dir);
            assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_symlink_is_replaced_not_written_through() {
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs_err::write(&victim, "safe").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let link = header("f", EntryKind::Symlink, Some(&victim.to_string_lossy()), 0);
        unpack(tar(&[(link, b""), file("f")]), dir.path()).unwrap();
        assert_eq!(fs_err::read(&victim).unwrap(), b"safe");
        assert_eq!(fs_err::read(dir.path().join("f")).unwrap(), b"text");
    }
}
