//! File operations: actions on file-system states, without a process and without a mount.
//!
//! Actions that follow each other share one snapshot that is being made; it is committed where an output or a second reader needs it.

mod archive;
mod chmod;
mod copy;
mod link;
mod make;
mod owner;
mod parallel;
mod plan;

pub(crate) use link::link;
pub(crate) use owner::resolve_owner;

use rbuild_graph::{ActionInput, FileAction, FileActionKind, FileOp, InputIndex, OutputIndex, Timestamp};
use rbuild_snapshotter::{ActiveSnapshot, Snapshot, SnapshotWriter, Snapshotter};
use tokio_util::sync::CancellationToken;

use crate::WorkError;
use crate::tree::Tree;

/// What an input of the vertex offers to a file operation.
pub(crate) struct FileInput {
    /// To start from; `None` is the empty file system. Of a context it is never asked.
    pub(crate) base: Option<Snapshot>,
    /// To read from.
    pub(crate) tree: Tree,
}

/// What all actions of one step share.
pub(crate) struct FileStep<'a> {
    pub(crate) snapshotter: &'a Snapshotter,
    pub(crate) inputs: &'a [FileInput],
    /// For the snapshots' descriptions.
    pub(crate) name: &'a str,
    pub(crate) cancel: &'a CancellationToken,
    /// The time of execution, nanoseconds since the epoch.
    pub(crate) now: i64,
}

/// One action at work.
pub(crate) struct ActionStep<'a> {
    pub(crate) writer: &'a SnapshotWriter,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) now: i64,
}

/// How far an action's result is.
enum State {
    Open(ActiveSnapshot),
    Done(Snapshot),
    /// Another action went on with it.
    Continued,
}

/// Performs all actions. Blocks. Returns the outputs in their order.
pub(crate) fn run(step: &FileStep<'_>, op: &FileOp) -> Result<Vec<Snapshot>, WorkError> {
    let mut states: Vec<State> = Vec::with_capacity(op.actions.len());
    for action in &op.actions {
        if step.cancel.is_cancelled() {
            return Err(WorkError::Cancelled);
        }
        let active = step.start(op, action.base, &mut states)?;
        step.perform(action, &active, &mut states)?;
        states.push(State::Open(active));
    }
    let mut outputs: Vec<(OutputIndex, usize)> =
        op.actions.iter().enumerate().filter_map(|(index, action)| Some((action.output?, index))).collect();
    outputs.sort_unstable();
    outputs.into_iter().map(|(_, index)| step.finish(&mut states, index)).collect()
}

impl FileStep<'_> {
    /// The state that an action changes.
    fn start(&self, op: &FileOp, base: ActionInput, states: &mut [State]) -> Result<ActiveSnapshot, WorkError> {
        let parent = match base {
            ActionInput::Scratch => None,
            ActionInput::Input(index) => self.input(index)?.base.clone(),
            ActionInput::Action(index) => {
                let index = position(index);
                if readers(op, index) == 1
                    && let State::Open(_) = &states[index]
                    && let State::Open(active) = std::mem::replace(&mut states[index], State::Continued)
                {
                    return Ok(active);
                }
                Some(self.finish(states, index)?)
            }
        };
        let driver = self.snapshotter.driver();
        driver.prepare(parent.as_ref()).map_err(|source| WorkError::Snapshot { step: "prepared", source })
    }

    fn perform(&self, action: &FileAction, active: &ActiveSnapshot, states: &mut [State]) -> Result<(), WorkError> {
        let driver = self.snapshotter.driver();
        let writer = driver.writer(active).map_err(|source| WorkError::Snapshot { step: "opened for writing", source })?;
        let at = ActionStep { writer: &writer, cancel: self.cancel, now: self.now };
        match &action.kind {
            FileActionKind::Copy(copy) => match copy.from {
                ActionInput::Input(index) => copy::copy(&at, copy, &self.input(index)?.tree),
                ActionInput::Scratch => copy::copy(&at, copy, &Tree::Empty),
                ActionInput::Action(index) => {
                    let snapshot = self.finish(states, position(index))?;
                    copy::copy(&at, copy, &crate::worker::snapshot_tree(self.snapshotter, &snapshot)?)
                }
            },
            FileActionKind::MakeFile(make) => make::file(&at, make),
            FileActionKind::MakeDir(make) => make::directory(&at, make),
            FileActionKind::Symlink(make) => make::symlink(&at, make),
            FileActionKind::Remove(remove) => make::remove(&at, remove),
        }
    }

    fn finish(&self, states: &mut [State], index: usize) -> Result<Snapshot, WorkError> {
        match std::mem::replace(&mut states[index], State::Continued) {
            State::Open(active) => {
                let committed = self.snapshotter.driver().commit(active, self.name);
                let snapshot = committed.map_err(|source| WorkError::Snapshot { step: "committed", source })?;
                states[index] = State::Done(snapshot.clone());
                Ok(snapshot)
            }
            State::Done(snapshot) => {
                states[index] = State::Done(snapshot.clone());
                Ok(snapshot)
            }
            State::Continued => Err(WorkError::Internal(format!("the result of action {index} is gone"))),
        }
    }

    fn input(&self, index: InputIndex) -> Result<&FileInput, WorkError> {
        self.inputs.get(position(index.0)).ok_or(WorkError::UnknownInput(index))
    }
}

/// How many need an action's result: actions and outputs.
fn readers(op: &FileOp, index: usize) -> usize {
    let is = |input: ActionInput| matches!(input, ActionInput::Action(other) if position(other) == index);
    let by_actions = op.actions.iter().map(|action| {
        let from = match &action.kind {
            FileActionKind::Copy(copy) => is(copy.from),
            FileActionKind::MakeFile(_) | FileActionKind::MakeDir(_) | FileActionKind::Symlink(_) | FileActionKind::Remove(_) => {
                false
            }
        };
        usize::from(is(action.base)) + usize::from(from)
    });
    by_actions.sum::<usize>() + usize::from(op.actions[index].output.is_some())
}

fn position(index: u32) -> usize {
    usize::try_from(index).expect("32 bits fit")
}

impl ActionStep<'_> {
    /// A creation time as writers take it.
    pub(crate) fn time(&self, created: Timestamp) -> (i64, u32) {
        match created {
            Timestamp::Now => (
                self.now.div_euclid(1_000_000_000),
                u32::try_from(self.now.rem_euclid(1_000_000_000)).expect("less than a second"),
            ),
            Timestamp::Epoch(seconds) => (seconds, 0),
        }
    }
}
