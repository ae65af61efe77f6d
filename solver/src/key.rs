//! The cache-key algebra: what identifies a computation, by definition and by content (spec §4.2).

use rbuild_graph::OpDigest;

/// Identity of one cached computation: a node that links lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub [u8; 32]);

impl RecordId {
    /// Lower-case hexadecimal, 64 characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
            text
        })
    }
}

/// A key that needs no inputs: an image's manifest digest, a URL's content, the definition of an op without inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootKey(pub [u8; 32]);

/// BLAKE3 digest of selected content of one input (the slow key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey(pub [u8; 32]);

/// Which part of an input a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorDigest(pub [u8; 32]);

/// Name of a stored result, meaningful to the worker (a snapshot's id, a blob's digest …).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultId(pub String);

/// What the worker says of a vertex's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMap {
    /// Digest of the op without inputs.
    pub op: OpDigest,
    /// For a vertex without inputs: alternative keys of output 0, the most specific first. Empty: the op digest is the key,
    /// unless `content_only`.
    pub roots: Vec<RootKey>,
    /// True when nothing but its content identifies the outputs (a local directory): users match by content alone, the vertex is
    /// executed (lazily and cheaply) in every build and its result is never saved.
    pub content_only: bool,
    /// One for each input.
    pub inputs: Vec<InputKey>,
}

/// How one input takes part in the key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct InputKey {
    /// What of the input is read, for the link; `None` is all of it.
    pub selector: Option<SelectorDigest>,
    /// Whether the content of the selection may stand for the input's definition.
    pub by_content: bool,
}
