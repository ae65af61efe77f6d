//! `--progress=plain`: BuildKit's lines, which people search logs for.
//!
//! One step is current and prints at once; the output of others waits until they have ended, or the current one has been silent for a
//! while, or too much waits.

use std::collections::BTreeMap;
use std::io::{self, Write};

use rbuild_builder::{Event, StepStatus};
use rbuild_graph::VertexDigest;

use super::Renderer;
use super::lines::{Lines, seconds, tenths};
use crate::human;

/// How long the current step may be silent before another gets its turn, in nanoseconds.
const PATIENCE: i64 = 5_000_000_000;
/// Bytes of other steps that wait.
const WAITING: usize = 1 << 20;
/// Time between two lines about the same transfer.
const STATUS_EVERY: i64 = 5_000_000_000;

/// The renderer.
#[derive(Debug, Default)]
pub(super) struct Plain {
    steps: BTreeMap<VertexDigest, Step>,
    next_index: u32,
    current: Option<VertexDigest>,
    last_printed: i64,
    begun: bool,
}

#[derive(Debug, Default)]
struct Step {
    /// Its number, given when it is first shown.
    index: u32,
    name: String,
    started: Option<i64>,
    end: Option<End>,
    /// Lines that are not shown yet, without the number.
    pending: Vec<Vec<u8>>,
    pending_bytes: usize,
    lines: Lines,
    last_log: i64,
    statuses: BTreeMap<String, Status>,
}

#[derive(Clone, Copy, Debug)]
struct Status {
    started: i64,
    shown: i64,
}

#[derive(Clone, Debug)]
enum End {
    Cached,
    Done(i64),
    Cancelled,
    Failed(String),
}

impl Renderer for Plain {
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        // Warnings about the Dockerfile come in a summary at the end.
        let Some((vertex, time)) = self.take(event) else { return Ok(()) };
        if self.should_print(vertex, time) {
            self.print(vertex, time, out)?;
        }
        if self.current.is_none() {
            self.print_open(time, out)?;
        }
        Ok(())
    }

    fn tick(&mut self, now: i64, out: &mut dyn Write) -> io::Result<()> {
        let waiting = self.steps.iter().find(|(vertex, step)| Some(**vertex) != self.current && !step.pending.is_empty());
        match waiting.map(|(vertex, _)| *vertex) {
            Some(vertex) if now - self.last_printed >= PATIENCE => self.print(vertex, now, out),
            Some(_) | None => Ok(()),
        }
    }

    fn finish(&mut self, now: i64, out: &mut dyn Write) -> io::Result<()> {
        let left: Vec<VertexDigest> =
            self.steps.iter().filter(|(_, step)| !step.pending.is_empty()).map(|(vertex, _)| *vertex).collect();
        for vertex in left {
            self.print(vertex, now, out)?;
        }
        Ok(())
    }
}

impl Plain {
    pub(super) fn new() -> Plain {
        Plain::default()
    }

    /// Takes the event into the step that it is about.
    fn take(&mut self, event: &Event) -> Option<(VertexDigest, i64)> {
        match event {
            Event::Vertex { vertex, name, inputs: _, status, time } => {
                self.steps.entry(*vertex).or_default().set(name, status, *time);
                Some((*vertex, *time))
            }
            Event::Status { vertex, id, current, total, time, completed } => {
                self.steps.entry(*vertex).or_default().status(id, *current, *total, *time, *completed);
                Some((*vertex, *time))
            }
            Event::Log { vertex, stream: _, bytes, time } => {
                self.steps.entry(*vertex).or_default().log(bytes, *time);
                Some((*vertex, *time))
            }
            Event::Warning { vertex, short, detail: _, lines: _ } => {
                let vertex = (*vertex)?;
                self.steps.entry(vertex).or_default().push(format!("WARN: {short}").into_bytes());
                Some((vertex, self.last_printed))
            }
        }
    }

    fn should_print(&self, vertex: VertexDigest, time: i64) -> bool {
        let Some(step) = self.steps.get(&vertex) else { return false };
        let turn = self.current.is_none_or(|current| current == vertex);
        let overdue = !step.pending.is_empty() && time - self.last_printed >= PATIENCE;
        step.is_shown() && (turn || step.end.is_some() || overdue || step.pending_bytes > WAITING)
    }

    /// Somebody who is at work gets the turn, whoever has something to say first.
    fn print_open(&mut self, time: i64, out: &mut dyn Write) -> io::Result<()> {
        let open = self.steps.iter().filter(|(_, step)| step.started.is_some() && step.end.is_none());
        let next = open.min_by_key(|(_, step)| (step.pending.is_empty(), step.started)).map(|(vertex, _)| *vertex);
        next.map_or(Ok(()), |vertex| self.print(vertex, time, out))
    }

    fn print(&mut self, vertex: VertexDigest, time: i64, out: &mut dyn Write) -> io::Result<()> {
        self.leave(vertex, out)?;
        let Some(step) = self.steps.get_mut(&vertex) else { return Ok(()) };
        if step.index == 0 {
            self.next_index += 1;
            step.index = self.next_index;
        }
        let index = step.index;
        if self.current != Some(vertex) {
            writeln!(out, "#{index} {}", step.name)?;
        }
        for line in step.pending.drain(..) {
            write!(out, "#{index} ")?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
            self.last_printed = time;
        }
        step.pending_bytes = 0;
        if self.current != Some(vertex) {
            self.last_printed = time;
        }
        self.current = if step.end.is_some() { None } else { Some(vertex) };
        match &step.end {
            Some(end) => writeln!(out, "#{index} {}", end.text(step.started)),
            None => Ok(()),
        }
    }

    /// Leaves the current step when another gets the turn.
    fn leave(&mut self, next: VertexDigest, out: &mut dyn Write) -> io::Result<()> {
        if self.current == Some(next) {
            return Ok(());
        }
        if let Some(old) = self.current.and_then(|current| self.steps.get(&current)) {
            writeln!(out, "#{} ...", old.index)?;
        }
        if self.begun {
            writeln!(out)?;
        }
        self.begun = true;
        Ok(())
    }
}

impl End {
    fn text(&self, started: Option<i64>) -> String {
        match self {
            End::Cached => "CACHED".to_owned(),
            End::Done(at) => format!("DONE {}", tenths(at - started.unwrap_or(*at))),
            End::Cancelled => "CANCELED".to_owned(),
            End::Failed(message) => format!("ERROR: {message}"),
        }
    }
}

impl Step {
    /// What never began is not shown.
    fn is_shown(&self) -> bool {
        self.started.is_some() || self.end.is_some() || !self.pending.is_empty()
    }

    fn set(&mut self, name: &str, status: &StepStatus, time: i64) {
        name.clone_into(&mut self.name);
        let cached = matches!(self.end, Some(End::Cached));
        let end = match status {
            StepStatus::Started => {
                self.started.get_or_insert(time);
                return;
            }
            StepStatus::Cached => End::Cached,
            StepStatus::Completed if cached => return,
            StepStatus::Completed => End::Done(time),
            StepStatus::Cancelled => End::Cancelled,
            StepStatus::Failed(message) => End::Failed(message.clone()),
        };
        let mut rest = Vec::new();
        self.lines.finish(|line| rest.push(line.to_vec()));
        let at = seconds(self.last_log - self.started.unwrap_or(self.last_log));
        for line in rest {
            self.push([at.as_bytes(), b" ", &line].concat());
        }
        self.end = Some(end);
    }

    fn log(&mut self, bytes: &[u8], time: i64) {
        self.last_log = time;
        let at = seconds(time - self.started.unwrap_or(time));
        let mut complete = Vec::new();
        self.lines.push(bytes, |line| complete.push([at.as_bytes(), b" ", line].concat()));
        complete.into_iter().for_each(|line| self.push(line));
    }

    fn status(&mut self, id: &str, current: u64, total: u64, time: i64, completed: bool) {
        let first = Status { started: time, shown: i64::MIN };
        let status = self.statuses.entry(id.to_owned()).or_insert(first);
        if !completed && time.saturating_sub(status.shown) < STATUS_EVERY {
            return;
        }
        status.shown = time;
        let mut line = id.to_owned();
        if total != 0 {
            line.push_str(&format!(" {} / {}", human::bytes(current), human::bytes(total)));
        } else if current != 0 {
            line.push_str(&format!(" {}", human::bytes(current)));
        }
        if time - status.started > 10_000_000 {
            line.push_str(&format!(" {}", tenths(time - status.started)));
        }
        if completed {
            line.push_str(" done");
        }
        self.push(line.into_bytes());
    }

    fn push(&mut self, line: Vec<u8>) {
        self.pending_bytes += line.len();
        self.pending.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::script;

    #[test]
    fn a_build_looks_like_buildkits() {
        insta::assert_snapshot!(script::play(&mut Plain::new(), &script::build()));
    }

    #[test]
    fn a_silent_step_gives_way() {
        let mut plain = Plain::new();
        let mut out = Vec::new();
        for event in [
            script::vertex(1, "quiet", StepStatus::Started, 0),
            script::vertex(2, "loud", StepStatus::Started, 0),
            script::log(2, "one\n", script::SECOND),
        ] {
            plain.event(&event, &mut out).unwrap();
        }
        plain.tick(2 * script::SECOND, &mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "#1 quiet\n");
        plain.tick(6 * script::SECOND, &mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "#1 quiet\n#1 ...\n\n#2 loud\n#2 1.000 one\n");
    }
}
