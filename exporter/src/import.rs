//! `import`: a root file system as an image with one layer.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rbuild_fs::archive::{Codec, EntryKind, Header, TarWriter, decode_any};
use rbuild_fs::{Enter, Kind, Root, WalkEntry, walk, xattr};
use rbuild_oci::{History, ImageConfig, Platform};
use rbuild_snapshotter::{Snapshotter, TimePolicy};

use crate::error::{AtPath, InStream, Result};
use crate::pipe::{self, PipeReader};
use crate::{ImageParts, LayerOptions, LoadSource, StoredImage, make_image};

/// Makes an image of a root file system's tar, compressed or not, or of a directory. Without a history of its own the
/// configuration gets one entry that says where it came from; without a platform, this host's. The image is not named: see
/// [`crate::tag`]. Blocking.
///
/// # Errors
/// When the tar is damaged or has what a layer cannot have.
pub fn import(snapshotter: &Snapshotter, from: LoadSource, config: ImageConfig) -> Result<StoredImage> {
    let (name, tar) = open(from)?;
    let mut tar = BufReader::with_capacity(256 << 10, tar);
    let state = snapshotter.apply(None, &mut tar)?;
    io::copy(&mut tar, &mut io::sink()).stream(|| format!("read `{name}`"))?;
    let snapshot = snapshotter.driver().commit(state, &format!("imported from {name}"))?;
    let mut config = config;
    config.platform.get_or_insert_with(Platform::host);
    let mut history: Vec<(History, Option<usize>)> = config.history.drain(..).map(|entry| (entry, None)).collect();
    if history.is_empty() {
        history.push((History { comment: Some(format!("Imported from {name}")), ..History::default() }, Some(0)));
    }
    let parts =
        ImageParts { config, base_layers: Vec::new(), base_layout: None, snapshots: vec![snapshot], history, epoch: None };
    let options = LayerOptions { codec: Codec::None, times: TimePolicy::Keep, force_compression: false, oci_media_types: true };
    make_image(snapshotter, &parts, &options)
}

fn open(from: LoadSource) -> Result<(String, Box<dyn Read + Send>)> {
    let (name, stream): (String, Box<dyn Read + Send>) = match from {
        LoadSource::Stream(stream) => ("-".into(), stream),
        LoadSource::Path(path) if fs_err::metadata(&path).at("open", &path)?.is_dir() => {
            return Ok((path.display().to_string(), Box::new(directory_tar(&path)?)));
        }
        LoadSource::Path(path) => {
            let file = fs_err::File::open(&path).at("open", &path)?;
            (path.display().to_string(), Box::new(file.into_parts().0))
        }
    };
    let (_, decoded) = decode_any(stream).stream(|| format!("read `{name}`"))?;
    Ok((name, decoded))
}

/// A directory as a tar stream, written by a thread of its own.
fn directory_tar(path: &Path) -> Result<PipeReader> {
    let root = Root::open(path).at("open", path)?;
    let entries = walk(&root, Path::new(""), &|_, stat| if stat.kind == Kind::Socket { Enter::Skip } else { Enter::Yes });
    let entries = entries.at("list", path)?;
    let path = path.to_owned();
    let step = format!("read `{}`", path.display());
    pipe::produce("directory", move |out| {
        let mut links = HashMap::new();
        let mut tar = TarWriter::new(out);
        for entry in &entries {
            let full = path.join(&entry.path);
            append(&root, entry, &mut links, &mut tar).at("read", &full).map_err(io::Error::other)?;
        }
        tar.finish().map(drop)
    })
    .stream(|| step)
}

/// First names of inodes that have several.
type Links = HashMap<(u64, u64), PathBuf>;

fn append(root: &Root, entry: &WalkEntry, links: &mut Links, tar: &mut TarWriter<&mut dyn Write>) -> io::Result<()> {
    let WalkEntry { path, stat } = entry;
    let mut header = Header {
        path: path.clone(),
        kind: EntryKind::File,
        link: None,
        mode: stat.mode & 0o7777,
        uid: stat.uid,
        gid: stat.gid,
        size: 0,
        mtime: stat.mtime,
        rdev: (rustix::fs::major(stat.rdev), rustix::fs::minor(stat.rdev)),
        xattrs: Vec::new(),
    };
    if stat.nlink > 1 && stat.kind != Kind::Dir {
        if let Some(first) = links.get(&(stat.dev, stat.ino)) {
            header.kind = EntryKind::HardLink;
            header.link = Some(first.clone());
            return tar.append(&header, &mut io::empty());
        }
        links.insert((stat.dev, stat.ino), path.clone());
    }
    match stat.kind {
        Kind::File => {
            let file = root.open_file(path)?;
            header.size = stat.size;
            header.xattrs = content_of(&file)?;
            return tar.append(&header, &mut BufReader::new(file));
        }
        Kind::Dir => {
            header.kind = EntryKind::Dir;
            header.xattrs = content_of(root.open_dir(path)?)?;
        }
        Kind::Symlink => {
            header.kind = EntryKind::Symlink;
            header.link = Some(root.read_link(path)?);
        }
        Kind::CharDevice => header.kind = EntryKind::CharDevice,
        Kind::BlockDevice => header.kind = EntryKind::BlockDevice,
        Kind::Fifo => header.kind = EntryKind::Fifo,
        Kind::Socket => return Ok(()),
    }
    tar.append(&header, &mut io::empty())
}

/// What of an open inode's attributes is part of a file system's content rather than of the machine that it is on.
pub(crate) fn content_of(fd: impl AsFd) -> io::Result<Vec<xattr::Xattr>> {
    let mut attributes = xattr::list(fd.as_fd())?;
    attributes.retain(|(name, _)| is_content(name));
    Ok(attributes)
}

/// Overlay's own attributes and the labels of security modules stay behind.
fn is_content(name: &[u8]) -> bool {
    let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let foreign = name.starts_with(b"security.") && name != b"security.capability";
    !overlay && !foreign && !name.starts_with(b"system.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExportError;

    #[test]
    fn only_content_travels() {
        for (name, travels) in [
            ("user.x", true),
            ("security.capability", true),
            ("trusted.x", true),
            ("security.selinux", false),
            ("trusted.overlay.opaque", false),
            ("user.overlay.whiteout", false),
            ("system.posix_acl_access", false),
        ] {
            assert_eq!(is_content(name.as_bytes()), travels, "{name}");
        }
    }

    #[test]
    fn errors_name_the_file() {
        let missing = import_open_error(Path::new("/nonexistent/x"));
        assert!(missing.contains("/nonexistent/x"), "{missing}");
    }

    fn import_open_error(path: &Path) -> String {
        match open(LoadSource::Path(path.into())) {
            Ok(_) => String::new(),
            Err(error @ ExportError::Io { .. }) => error.to_string(),
            Err(other) => panic!("{other}"),
        }
    }
}
