//! State directories of every driver, trees as text, and tars from text.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rbuild_fs::archive::{EntryKind, Header, TarReader, TarWriter};
use rbuild_fs::{Enter, Kind, Root};
use rbuild_snapshotter::{Attrs, ChangeKind, Snapshot, SnapshotWriter, Snapshotter, TimePolicy};
use rbuild_store::{Clock, Store};

struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) const DRIVERS: [&str; 3] = ["overlay", "overlay-userxattr", "copy"];

/// One state directory. The store lives as long as its snapshotter.
pub(crate) struct Lab {
    pub(crate) driver: &'static str,
    pub(crate) snapshotter: Snapshotter,
    pub(crate) dir: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new(driver: &'static str) -> Lab {
        Lab::in_directory(driver, "state")
    }

    /// With a state directory of that name.
    pub(crate) fn in_directory(driver: &'static str, state: &str) -> Lab {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join(state);
        fs_err::create_dir_all(root.parent().expect("it has one")).expect("makes");
        let store = Store::open(&root, Arc::new(Ticks(AtomicI64::new(1))), &|_| Ok(driver.to_owned())).expect("a store");
        let session = store.session().expect("a session");
        let snapshotter = Snapshotter::new(store, session).expect("a known driver");
        assert_eq!(snapshotter.driver().name(), driver);
        Lab { driver, snapshotter, dir }
    }

    /// A state made by writing.
    pub(crate) fn write(&self, parent: Option<&Snapshot>, change: impl FnOnce(&SnapshotWriter)) -> Snapshot {
        let active = self.snapshotter.driver().prepare(parent).expect("prepares");
        let writer = self.snapshotter.driver().writer(&active).expect("a writer");
        change(&writer);
        drop(writer);
        self.snapshotter.driver().commit(active, "test").expect("commits")
    }

    /// A state made by applying entries in `tar`'s language.
    pub(crate) fn unpack(&self, parent: Option<&Snapshot>, entries: &[&str]) -> Snapshot {
        self.unpack_bytes(parent, &tar(entries))
    }

    pub(crate) fn unpack_bytes(&self, parent: Option<&Snapshot>, tar: &[u8]) -> Snapshot {
        let active =
            self.snapshotter.apply(parent, &mut &*tar).unwrap_or_else(|error| panic!("{}: {}", self.driver, chain(&error)));
        self.snapshotter.driver().commit(active, "layer").expect("commits")
    }

    pub(crate) fn layer(&self, snapshot: &Snapshot, times: &TimePolicy) -> Vec<u8> {
        let mut out = Vec::new();
        self.snapshotter
            .write_layer(snapshot, times, &mut out)
            .unwrap_or_else(|error| panic!("{}: {}", self.driver, chain(&error)));
        out
    }

    /// The whole state, a line for each path: `a/`, `a/x hello`, `l -> target`, `y =a/x`.
    pub(crate) fn tree(&self, snapshot: &Snapshot) -> Vec<String> {
        self.lines(snapshot, Detail::Content)
    }

    /// As `tree`, with mode, owner, attributes, and the times of what is not a directory.
    pub(crate) fn full_tree(&self, snapshot: &Snapshot) -> Vec<String> {
        self.lines(snapshot, Detail::All)
    }

    /// As `full_tree`, less what a layer does not say: `user.*` attributes, and names that share an inode across layers.
    pub(crate) fn contents(&self, snapshot: &Snapshot) -> Vec<String> {
        self.lines(snapshot, Detail::Contents)
    }

    fn lines(&self, snapshot: &Snapshot, detail: Detail) -> Vec<String> {
        let view = self.snapshotter.driver().view(snapshot).expect("a view");
        let root = view.root();
        let mut first = BTreeMap::new();
        let entries = rbuild_fs::walk(root, Path::new(""), &|_, _| Enter::Yes).expect("walks");
        entries.iter().map(|entry| line(root, entry, detail, &mut first)).collect()
    }

    /// `A path`, `M path`, `P path`, `D path`.
    pub(crate) fn changes(&self, snapshot: &Snapshot) -> Vec<String> {
        let changes = self.snapshotter.driver().changes(snapshot).expect("compares");
        changes.iter().map(|change| format!("{} {}", letter(change.kind), change.path.display())).collect()
    }
}

/// Runs a test on every driver.
pub(crate) fn each(mut test: impl FnMut(&Lab)) {
    for driver in DRIVERS {
        test(&Lab::new(driver));
    }
}

fn letter(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Added => 'A',
        ChangeKind::Modified => 'M',
        ChangeKind::Parent => 'P',
        ChangeKind::Deleted => 'D',
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Content,
    Contents,
    All,
}

fn line(root: &Root, entry: &rbuild_fs::WalkEntry, detail: Detail, first: &mut BTreeMap<u64, PathBuf>) -> String {
    let stat = &entry.stat;
    let mut text = entry.path.display().to_string();
    let before = if stat.kind == Kind::Dir || detail == Detail::Contents { None } else { first.get(&stat.ino).cloned() };
    first.entry(stat.ino).or_insert_with(|| entry.path.clone());
    match (before, stat.kind) {
        (Some(other), _) => text.push_str(&format!(" ={}", other.display())),
        (None, Kind::Dir) => text.push('/'),
        (None, Kind::File) => {
            let content = root.read(&entry.path, 1 << 20).expect("reads").expect("is there");
            text.push_str(&format!(" {}", String::from_utf8_lossy(&content)));
        }
        (None, Kind::Symlink) => text.push_str(&format!(" -> {}", root.read_link(&entry.path).expect("a link").display())),
        (None, Kind::CharDevice | Kind::BlockDevice) => {
            text.push_str(&format!(" {:?} {}:{}", stat.kind, major(stat.rdev), minor(stat.rdev)))
        }
        (None, Kind::Fifo | Kind::Socket) => text.push_str(&format!(" {:?}", stat.kind)),
    }
    if detail != Detail::Content {
        let time = if stat.kind == Kind::Dir { String::new() } else { format!("@{}", stat.mtime.0) };
        text.push_str(&format!(" [{:o} {}:{}{time}{}]", stat.mode, stat.uid, stat.gid, attributes(root, &entry.path, detail)));
    }
    text
}

fn attributes(root: &Root, path: &Path, detail: Detail) -> String {
    let found = xattrs(root, path);
    let layered = |name: &[u8]| detail == Detail::All || name == b"security.capability";
    let shown = found.iter().filter(|(name, _)| layered(name) && !name.windows(9).any(|part| part == b".overlay."));
    shown.map(|(name, value)| format!(" {}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))).collect()
}

/// The extended attributes of a path without links.
pub(crate) fn xattrs(root: &Root, path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let dir = root.open_dir(path.parent().expect("not the root")).expect("opens");
    rbuild_fs::xattr::list_at(dir.as_fd(), path.file_name().expect("not the root")).expect("lists")
}

pub(crate) fn major(rdev: u64) -> u32 {
    rustix::fs::major(rdev)
}

pub(crate) fn minor(rdev: u64) -> u32 {
    rustix::fs::minor(rdev)
}

/// Attributes of root's, from 1000000.
pub(crate) fn mode(mode: u32) -> Attrs {
    Attrs { mode, uid: 0, gid: 0, mtime: Some((1_000_000, 0)), xattrs: Vec::new() }
}

/// Writes a small file.
pub(crate) fn put(writer: &SnapshotWriter, path: &str, content: &str) {
    writer.write_file(Path::new(path), &mut content.as_bytes(), content.len() as u64, &mode(0o644)).expect("writes");
}

/// A tar from lines: `dir PATH [MODE]`, `file PATH [CONTENT]`, `link PATH TARGET`, `hard PATH TARGET`, `char|block PATH MAJOR MINOR`,
/// `fifo PATH`. Everything is from the second 1000 and root's.
pub(crate) fn tar(entries: &[&str]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for entry in entries {
        let words: Vec<&str> = entry.split(' ').collect();
        let (header, body) = header(&words);
        writer.append(&header, &mut body.as_bytes()).unwrap_or_else(|error| panic!("{entry}: {error}"));
    }
    writer.finish().expect("writes to memory")
}

fn header(words: &[&str]) -> (Header, String) {
    let word = |position: usize| words.get(position).copied().unwrap_or_default();
    let (kind, mode) = match words[0] {
        "dir" => (EntryKind::Dir, u32::from_str_radix(words.get(2).copied().unwrap_or("755"), 8).expect("a mode")),
        "file" => (EntryKind::File, 0o644),
        "link" => (EntryKind::Symlink, 0o777),
        "hard" => (EntryKind::HardLink, 0o644),
        "char" => (EntryKind::CharDevice, 0o600),
        "block" => (EntryKind::BlockDevice, 0o600),
        "fifo" => (EntryKind::Fifo, 0o600),
        other => panic!("no such entry: {other}"),
    };
    let device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
    let number = |position: usize| if device { word(position).parse().expect("a number") } else { 0 };
    let body = if kind == EntryKind::File { word(2).to_owned() } else { String::new() };
    let header = Header {
        path: PathBuf::from(words[1]),
        kind,
        link: matches!(kind, EntryKind::Symlink | EntryKind::HardLink).then(|| PathBuf::from(word(2))),
        mode,
        uid: 0,
        gid: 0,
        size: body.len() as u64,
        mtime: (1000, 0),
        rdev: (number(2), number(3)),
        xattrs: Vec::new(),
    };
    (header, body)
}

/// Entries of a tar, one line each, with everything that its headers say.
pub(crate) fn list(tar: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(tar);
    let mut lines = Vec::new();
    while let Some(header) = reader.next_entry().expect("a sound tar") {
        let mut body = String::new();
        reader.body().read_to_string(&mut body).expect("text");
        let Header { path, kind, link, mode, uid, gid, size: _, mtime, rdev, xattrs } = header;
        let mut line = format!("{kind:?} {} {mode:o} {uid}:{gid} @{}", path.display(), mtime.0);
        assert_eq!(mtime.1, 0, "whole seconds");
        if let Some(link) = link {
            line.push_str(&format!(" -> {}", link.display()));
        }
        if rdev != (0, 0) {
            line.push_str(&format!(" {}:{}", rdev.0, rdev.1));
        }
        for (name, value) in xattrs {
            line.push_str(&format!(" {}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value)));
        }
        if !body.is_empty() {
            line.push_str(&format!(" {body:?}"));
        }
        lines.push(line);
    }
    lines
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

/// A name for `rbuild_fs::place`.
pub(crate) fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}
