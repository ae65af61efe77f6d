//! What to build: a content-addressed graph of operations, pure data with the meanings of BuildKit's LLB.

mod canonical;
mod check;
mod digest;
mod encode;
mod exec;
mod file;
mod graph;
mod op;
mod selection;
mod source;
mod topology;

pub use digest::{OpDigest, SelectionDigest, VertexDigest};
pub use encode::Encoder;
pub use exec::{
    CacheMount, CacheSharing, ExecOp, ExtraHost, Mount, MountKind, NetworkMode, ProxyEnv, SecretEnv, SecretMount, SecurityMode,
    SshMount, Ulimit,
};
pub use file::{
    ActionInput, Archive, Chmod, Copy, CopyFilter, CopyPath, CopySource, FileAction, FileActionKind, FileOp, MakeDir, MakeFile,
    Owner, Remove, Symlink, Timestamp, UserName,
};
pub use graph::{Graph, GraphError, Vertex, VertexMeta};
pub use op::{DiffOp, Edge, InputIndex, MergeOp, Op, OutputIndex};
pub use selection::Selection;
pub use source::{GitSource, HttpSource, ImageSource, LocalSource, SourceOp};
pub use topology::Use;
