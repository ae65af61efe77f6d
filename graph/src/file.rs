//! File: an ordered list of actions on file-system states, without a process.

use crate::{InputIndex, OutputIndex};

/// Applies actions in order. An action may start from an input of the vertex or from an earlier action's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOp {
    /// The actions.
    pub actions: Vec<FileAction>,
}

/// What an action starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionInput {
    /// The empty file system.
    Scratch,
    /// An input of the vertex.
    Input(InputIndex),
    /// The result of an earlier action, by position.
    Action(u32),
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAction {
    /// The state that it changes.
    pub base: ActionInput,
    /// What it does.
    pub kind: FileActionKind,
    /// The output that its result becomes, if any.
    pub output: Option<OutputIndex>,
}

/// Kinds of actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileActionKind {
    /// Copies files, or extracts archives.
    Copy(Copy),
    /// Writes a file.
    MakeFile(MakeFile),
    /// Makes a directory.
    MakeDir(MakeDir),
    /// Makes a symbolic link.
    Symlink(Symlink),
    /// Removes a path.
    Remove(Remove),
}

/// Copies from `from` into the base. Semantics of spec G-31..G-50.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The state that is read.
    pub from: ActionInput,
    /// What is copied, in order. Several sources are one action, so that a step is one layer.
    pub sources: Vec<CopySource>,
    /// Destination path, absolute. A trailing slash says that it is a directory.
    pub target: String,
    /// Owner of all that is copied and of the parents made; `None` keeps the source's (local, git and http give 0:0).
    pub owner: Option<Owner>,
    /// Mode of all files and directories copied.
    pub chmod: Option<Chmod>,
    /// Whether archives are extracted.
    pub archive: Archive,
    /// Keep the source path below the target (`--parents`), from the `/./` pivot on.
    pub parents: bool,
    /// Patterns of paths left out (`--exclude`), in .dockerignore's language, relative to the copied root.
    pub exclude: Vec<String>,
    /// Times of directories that are made.
    pub created: Timestamp,
}

/// One source argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// Path inside the source, cleaned, absolute; with `wildcard`, a pattern of Go's `filepath.Match`.
    pub path: String,
    /// Whether the path is a pattern, which may match nothing.
    pub wildcard: bool,
    /// Position of the words in the Dockerfile is metadata; this is the text as the user wrote it, for messages. Not in the key.
    pub written: String,
}

/// When archives are extracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Archive {
    /// Never (COPY).
    Keep,
    /// Whatever is an archive by content is extracted, the rest is copied (ADD of local files).
    Detect,
    /// Must be an archive (`ADD --unpack` of a URL).
    Extract,
}

/// A file-selection of a copy, as content keys see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyFilter {
    /// Paths or patterns that are read.
    pub paths: Vec<CopyPath>,
    /// Patterns that are left out.
    pub exclude: Vec<String>,
}

/// One path of a [`CopyFilter`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyPath {
    /// Path or pattern.
    pub path: String,
    /// Whether it is a pattern.
    pub wildcard: bool,
    /// Whether a symbolic link at its end is followed.
    pub follow: bool,
    /// Whether the source's own path is kept (`--parents`).
    pub parents: bool,
}

/// Mode of what is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chmod {
    /// Octal permission bits, 0o0..=0o7777.
    Octal(u32),
    /// Symbolic: `u=rwX,go=rX`.
    Symbolic(String),
}

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: UserName,
    /// The group; `None`: the user's primary group for a name, the same number for a number.
    pub group: Option<UserName>,
}

/// A user or group, by number or by a name that the base's passwd or group file resolves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserName {
    /// A number.
    Id(u32),
    /// A name.
    Name(String),
}

/// A time for what an action creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// The time of execution.
    Now,
    /// Seconds since the epoch (SOURCE_DATE_EPOCH).
    Epoch(i64),
}

/// Writes one file (a heredoc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeFile {
    /// Destination, absolute; parents are made.
    pub path: String,
    /// The content.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner; `None` is 0:0.
    pub owner: Option<Owner>,
    /// Its time.
    pub created: Timestamp,
}

/// Makes one directory (WORKDIR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeDir {
    /// The directory, absolute.
    pub path: String,
    /// Permission bits of it and of parents made.
    pub mode: u32,
    /// Make missing parents; an existing directory is left as it is.
    pub parents: bool,
    /// Owner of what is made; `None` is 0:0.
    pub owner: Option<Owner>,
    /// Its time.
    pub created: Timestamp,
}

/// Makes one symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symlink {
    /// Where the link is.
    pub path: String,
    /// What it says.
    pub target: String,
    /// Its owner.
    pub owner: Option<Owner>,
    /// Its time.
    pub created: Timestamp,
}

/// Removes one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remove {
    /// The path, or a pattern when `wildcard`.
    pub path: String,
    /// Whether it is a pattern.
    pub wildcard: bool,
    /// Whether absence is fine.
    pub allow_missing: bool,
}
