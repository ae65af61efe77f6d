//! File trees as values that can be compared.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// One file: what must be the same in two builders' images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `file`, `dir`, `link`, `char`, `block`, `fifo`, `socket`.
    pub kind: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// A file's SHA-256, a link's target, a device's number.
    pub content: String,
    /// For a file with several names: the first of them in the tree.
    pub same_as: Option<String>,
}

/// Path (without a leading slash) to node.
pub type Tree = BTreeMap<String, Node>;

/// Reads a tree from disk. Paths in `skip`, and what is below them, are left out.
///
/// # Panics
/// When something cannot be read.
#[must_use]
pub fn tree_of(root: &Path, skip: &[&str]) -> Tree {
    let mut tree = Tree::new();
    let mut inodes = BTreeMap::new();
    visit(root, "", skip, &mut tree, &mut inodes);
    tree
}

fn visit(root: &Path, at: &str, skip: &[&str], tree: &mut Tree, inodes: &mut BTreeMap<u64, String>) {
    let mut names: Vec<_> =
        fs_err::read_dir(root.join(at)).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    for name in names {
        let name = name.to_string_lossy();
        let path = if at.is_empty() { name.into_owned() } else { format!("{at}/{name}") };
        if skip.contains(&path.as_str()) {
            continue;
        }
        let full = root.join(&path);
        let meta = fs_err::symlink_metadata(&full).expect("a file");
        let kind = meta.file_type();
        let (kind, content) = if kind.is_symlink() {
            ("link", fs_err::read_link(&full).expect("a link").to_string_lossy().into_owned())
        } else if kind.is_dir() {
            ("dir", String::new())
        } else if kind.is_file() {
            ("file", HEXLOWER.encode(&Sha256::digest(fs_err::read(&full).expect("a file"))))
        } else if kind.is_fifo() {
            ("fifo", String::new())
        } else if kind.is_socket() {
            ("socket", String::new())
        } else {
            (if kind.is_char_device() { "char" } else { "block" }, meta.rdev().to_string())
        };
        let same_as =
            (kind == "file" && meta.nlink() > 1).then(|| inodes.entry(meta.ino()).or_insert_with(|| path.clone()).clone());
        let same_as = same_as.filter(|first| *first != path);
        tree.insert(path.clone(), Node { kind, mode: meta.mode() & 0o7777, owner: (meta.uid(), meta.gid()), content, same_as });
        if kind == "dir" {
            visit(root, &path, skip, tree, inodes);
        }
    }
}
