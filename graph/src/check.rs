//! What a vertex must fulfil to be in a graph: indexes in range, outputs numbered from 0 without gaps.

use crate::{ActionInput, ExecOp, FileActionKind, FileOp, GraphError, InputIndex, Op, OutputIndex, Vertex, VertexDigest};

impl Vertex {
    /// How many outputs there are.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.op {
            Op::Exec(exec) => exec.mounts.iter().filter(|mount| mount.output.is_some()).count(),
            Op::File(file) => file.actions.iter().filter(|action| action.output.is_some()).count(),
            Op::Source(_) | Op::Merge(_) | Op::Diff(_) => 1,
        }
    }

    pub(crate) fn check(&self, digest: VertexDigest) -> Result<(), GraphError> {
        let check = Check { vertex: digest, inputs: self.inputs.len() };
        match &self.op {
            Op::Source(_) if self.inputs.is_empty() => Ok(()),
            Op::Source(_) => Err(check.malformed("a source has no inputs")),
            Op::Exec(exec) => check.exec(exec),
            Op::File(file) => check.file(file),
            Op::Merge(merge) => merge.inputs.iter().try_for_each(|&input| check.input(input)),
            Op::Diff(diff) => diff.lower.into_iter().chain(diff.upper).try_for_each(|input| check.input(input)),
        }
    }
}

struct Check {
    vertex: VertexDigest,
    inputs: usize,
}

impl Check {
    fn exec(&self, exec: &ExecOp) -> Result<(), GraphError> {
        if exec.args.is_empty() {
            return Err(self.malformed("a process has an argument vector"));
        }
        let is_root = |position: usize, target: &str| (position == 0) == (target == "/");
        if exec.mounts.is_empty() || !exec.mounts.iter().enumerate().all(|(position, mount)| is_root(position, &mount.target)) {
            return Err(self.malformed("the first mount, and only that, is the root"));
        }
        exec.mounts.iter().filter_map(|mount| mount.input).try_for_each(|input| self.input(input))?;
        self.numbered(exec.mounts.iter().filter_map(|mount| mount.output))
    }

    fn file(&self, file: &FileOp) -> Result<(), GraphError> {
        for (position, action) in file.actions.iter().enumerate() {
            self.action_input(action.base, position)?;
            match &action.kind {
                FileActionKind::Copy(copy) => self.action_input(copy.from, position)?,
                FileActionKind::MakeFile(_)
                | FileActionKind::MakeDir(_)
                | FileActionKind::Symlink(_)
                | FileActionKind::Remove(_) => {}
            }
        }
        self.numbered(file.actions.iter().filter_map(|action| action.output))
    }

    fn action_input(&self, from: ActionInput, position: usize) -> Result<(), GraphError> {
        match from {
            ActionInput::Scratch => Ok(()),
            ActionInput::Input(input) => self.input(input),
            ActionInput::Action(earlier) => self.below("action", earlier, position),
        }
    }

    fn input(&self, InputIndex(index): InputIndex) -> Result<(), GraphError> {
        self.below("input", index, self.inputs)
    }

    fn below(&self, what: &'static str, index: u32, end: usize) -> Result<(), GraphError> {
        if usize::try_from(index).is_ok_and(|index| index < end) {
            return Ok(());
        }
        Err(GraphError::OutOfRange { what, index, vertex: self.vertex })
    }

    /// Outputs are 0, 1, 2 … in any order.
    fn numbered(&self, outputs: impl Iterator<Item = OutputIndex>) -> Result<(), GraphError> {
        let mut seen: Vec<u32> = outputs.map(|OutputIndex(index)| index).collect();
        seen.sort_unstable();
        match seen.iter().zip(0..).find(|&(&index, position)| index != position) {
            Some((&index, _)) => Err(GraphError::OutOfRange { what: "output", index, vertex: self.vertex }),
            None => Ok(()),
        }
    }

    fn malformed(&self, rule: &'static str) -> GraphError {
        GraphError::Malformed { rule, vertex: self.vertex }
    }
}
