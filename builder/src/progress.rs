//! Events of the builder's own steps, beside those of the graph: definition, image metadata, exports.

use std::sync::Arc;

use rbuild_frontend::{Diagnostic, Source, lines};
use rbuild_graph::{Encoder, VertexDigest};
use rbuild_solver::{Event, EventSink, StepStatus};

/// A step that is no vertex of the graph. It ends cancelled unless it is told how it ended.
pub(crate) struct OwnStep {
    events: Arc<dyn EventSink>,
    vertex: VertexDigest,
    name: String,
    ended: bool,
}

impl OwnStep {
    pub(crate) fn start(events: &Arc<dyn EventSink>, name: impl Into<String>) -> OwnStep {
        let name = name.into();
        let mut to = Encoder::new("rbuild.own-step.v1");
        to.text(&name);
        let step = OwnStep { events: events.clone(), vertex: VertexDigest(to.finish()), name, ended: false };
        step.send(StepStatus::Started);
        step
    }

    /// Does one part of the step, which is shown as a line of its own.
    pub(crate) fn part<T>(&self, id: impl Into<String>, work: impl FnOnce() -> T) -> T {
        self.parts(&[id.into()], work)
    }

    /// Does several parts at once.
    pub(crate) fn parts<T>(&self, ids: &[String], work: impl FnOnce() -> T) -> T {
        ids.iter().for_each(|id| self.status(id, false));
        let result = work();
        ids.iter().for_each(|id| self.status(id, true));
        result
    }

    /// Ends the step as `result` says.
    pub(crate) fn end<T, E: std::error::Error>(mut self, result: Result<T, E>) -> Result<T, E> {
        self.ended = true;
        self.send(match &result {
            Ok(_) => StepStatus::Completed,
            Err(error) => StepStatus::Failed(error.to_string()),
        });
        result
    }

    fn status(&self, id: &str, completed: bool) {
        let (current, total) = (0, 0);
        let time = self.events.now();
        self.events.send(Event::Status { vertex: self.vertex, id: id.to_owned(), current, total, time, completed });
    }

    fn send(&self, status: StepStatus) {
        let (name, time) = (self.name.clone(), self.events.now());
        self.events.send(Event::Vertex { vertex: self.vertex, name, inputs: Vec::new(), status, time });
    }
}

impl Drop for OwnStep {
    fn drop(&mut self) {
        if !self.ended {
            self.send(StepStatus::Cancelled);
        }
    }
}

/// Tells of what could be better in the Dockerfile.
pub(crate) fn warn(events: &dyn EventSink, source: &Source, warnings: &[Diagnostic]) {
    for warning in warnings {
        let lines = warning.span.as_ref().map(|span| lines(source, span));
        let short = match lines {
            Some((first, _)) => format!("{}: {} (line {first})", warning.code, warning.message),
            None => format!("[Warning] {}", warning.message),
        };
        events.send(Event::Warning { vertex: None, short, detail: warning.hint.iter().cloned().collect(), lines });
    }
}
