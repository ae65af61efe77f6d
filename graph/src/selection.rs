//! Which part of each input a vertex reads: what selectors of cache links and content keys are made of.

use crate::{
    ActionInput, Archive, Copy, CopyFilter, CopyPath, Encoder, ExecOp, FileActionKind, FileOp, InputIndex, Mount, Op,
    SelectionDigest, Vertex,
};

/// What a vertex reads of one input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selection {
    /// All of it.
    Whole,
    /// Some paths, one filter for each action or mount that reads, in their order.
    Paths(Vec<CopyFilter>),
}

impl Selection {
    /// What a cache link calls the selection; `None` is the whole input.
    #[must_use]
    pub fn digest(&self) -> Option<SelectionDigest> {
        let filters = match self {
            Selection::Whole => return None,
            Selection::Paths(filters) => filters,
        };
        let mut to = Encoder::new("rbuild.selection.v1");
        to.list(filters, |to, CopyFilter { paths, exclude }| {
            to.list(paths, |to, CopyPath { path, wildcard, follow, parents }| {
                to.text(path);
                to.bool(*wildcard);
                to.bool(*follow);
                to.bool(*parents);
            });
            to.list(exclude, |to, pattern| to.text(pattern));
        });
        Some(SelectionDigest(to.finish()))
    }
}

impl Vertex {
    /// What is read of the `input`-th input.
    #[must_use]
    pub fn selection(&self, input: usize) -> Selection {
        match &self.op {
            Op::File(file) if !is_base(file, input) => Selection::Paths(copies(file, input).map(filter).collect()),
            Op::Exec(exec) => mounted(exec, input),
            Op::File(_) | Op::Source(_) | Op::Merge(_) | Op::Diff(_) => Selection::Whole,
        }
    }

    /// Whether equal content of the selection may stand for the input's definition: where it is only read, and not the root of what
    /// is made (spec §4.2).
    #[must_use]
    pub fn matches_by_content(&self, input: usize) -> bool {
        match &self.op {
            Op::File(file) => !is_base(file, input) && copies(file, input).next().is_some(),
            Op::Exec(exec) => {
                let mut mounts = mounts(exec, input).peekable();
                mounts.peek().is_some() && mounts.all(|mount| mount.target != "/" && (mount.readonly || mount.output.is_none()))
            }
            Op::Source(_) | Op::Merge(_) | Op::Diff(_) => false,
        }
    }
}

fn is(index: InputIndex, input: usize) -> bool {
    usize::try_from(index.0).is_ok_and(|index| index == input)
}

fn reads(from: ActionInput, input: usize) -> bool {
    match from {
        ActionInput::Input(index) => is(index, input),
        ActionInput::Scratch | ActionInput::Action(_) => false,
    }
}

fn is_base(file: &FileOp, input: usize) -> bool {
    file.actions.iter().any(|action| reads(action.base, input))
}

fn copies(file: &FileOp, input: usize) -> impl Iterator<Item = &Copy> {
    file.actions.iter().filter_map(move |action| match &action.kind {
        FileActionKind::Copy(copy) if reads(copy.from, input) => Some(copy),
        FileActionKind::Copy(_)
        | FileActionKind::MakeFile(_)
        | FileActionKind::MakeDir(_)
        | FileActionKind::Symlink(_)
        | FileActionKind::Remove(_) => None,
    })
}

/// A link to an archive is copied where the archive itself is extracted, so there the link counts as well as its target.
fn filter(copy: &Copy) -> CopyFilter {
    let path = |source: &crate::CopySource, follow| CopyPath {
        path: source.path.clone(),
        wildcard: source.wildcard,
        follow,
        parents: copy.parents,
    };
    let mut paths: Vec<CopyPath> = copy.sources.iter().map(|source| path(source, true)).collect();
    if copy.archive != Archive::Keep {
        paths.extend(copy.sources.iter().map(|source| path(source, false)));
    }
    CopyFilter { paths, exclude: copy.exclude.clone() }
}

fn mounts(exec: &ExecOp, input: usize) -> impl Iterator<Item = &Mount> {
    exec.mounts.iter().filter(move |mount| mount.input.is_some_and(|index| is(index, input)))
}

fn mounted(exec: &ExecOp, input: usize) -> Selection {
    let filters: Option<Vec<CopyFilter>> =
        mounts(exec, input).map(|mount| Some(mount_filter(mount.selector.as_ref()?))).collect();
    match filters {
        Some(filters) if !filters.is_empty() => Selection::Paths(filters),
        Some(_) | None => Selection::Whole,
    }
}

fn mount_filter(selector: &str) -> CopyFilter {
    let path = CopyPath { path: selector.to_owned(), wildcard: false, follow: true, parents: false };
    CopyFilter { paths: vec![path], exclude: Vec::new() }
}
