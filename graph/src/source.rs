//! Sources: what a graph takes from outside. What they resolved to is in the key, how they were named is not.

use rbuild_oci::Digest;

/// A source of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceOp {
    /// An image, by the digest of its manifest (of one platform).
    Image(ImageSource),
    /// A directory of the client: the build context or a named context.
    Local(LocalSource),
    /// One file from an http(s) URL.
    Http(HttpSource),
    /// A git checkout.
    Git(GitSource),
}

/// An image's file system. The reference it was found under is metadata of the vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSource {
    /// Digest of the manifest for one platform.
    pub manifest: Digest,
}

/// A local directory, known to the worker by its name. Its output is keyed by content only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSource {
    /// `context` for the main one, else the named context's name.
    pub name: String,
}

/// One file from a URL; the key is what the server sent (spec G-51).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSource {
    /// The URL.
    pub url: String,
    /// Name of the file in the output's root directory.
    pub filename: String,
    /// Its permission bits: 0o600 for ADD.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What the bytes must hash to.
    pub checksum: Option<Digest>,
}

/// A git checkout (issue 3 performs it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSource {
    /// The repository's URL.
    pub remote: String,
    /// Branch, tag or commit.
    pub reference: Option<String>,
    /// Directory inside the checkout.
    pub subdir: Option<String>,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// What the commit must be (or begin with).
    pub checksum: Option<String>,
}
