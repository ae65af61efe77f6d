//! The last lines of each step's output, for the message when it fails.

use std::collections::{BTreeMap, VecDeque};

use rbuild_builder::{Event, StepStatus};
use rbuild_graph::VertexDigest;

use super::lines::{Lines, printable, seconds};

/// Lines that are kept.
const KEPT: usize = 20;

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedStep {
    /// Its name.
    pub(crate) name: String,
    /// Its last output.
    pub(crate) lines: Vec<String>,
}

/// Follows the output of running steps.
#[derive(Debug, Default)]
pub(super) struct Tail {
    running: BTreeMap<VertexDigest, Running>,
    failed: Vec<FailedStep>,
}

#[derive(Debug, Default)]
struct Running {
    started: i64,
    last: i64,
    lines: Lines,
    kept: VecDeque<String>,
}

impl Tail {
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Vertex { vertex, status: StepStatus::Started, time, .. } => {
                self.running.entry(*vertex).or_default().started = *time;
            }
            Event::Vertex { vertex, status: StepStatus::Failed(_), name, .. } => {
                let mut step = self.running.remove(vertex).unwrap_or_default();
                let Running { started, last, lines, kept } = &mut step;
                let at = seconds(*last - *started);
                lines.finish(|line| keep(kept, &at, line));
                self.failed.push(FailedStep { name: name.clone(), lines: step.kept.into() });
            }
            Event::Vertex { vertex, status: StepStatus::Cached | StepStatus::Completed | StepStatus::Cancelled, .. } => {
                self.running.remove(vertex);
            }
            Event::Log { vertex, bytes, time, .. } => {
                let Running { started, last, lines, kept } = self.running.entry(*vertex).or_default();
                *last = *time;
                let at = seconds(time - *started);
                lines.push(bytes, |line| keep(kept, &at, line));
            }
            Event::Status { .. } | Event::Warning { .. } => {}
        }
    }

    pub(super) fn failed(self) -> Vec<FailedStep> {
        self.failed
    }
}

fn keep(kept: &mut VecDeque<String>, at: &str, line: &[u8]) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(format!("{at} {}", printable(line)));
}
