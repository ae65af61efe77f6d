//! `--progress=tty`: a picture of the build that is drawn over itself at most ten times a second.
//!
//! ```text
//! [+] Building 3.4s (5/7)
//!  => CACHED [1/4] FROM docker.io/library/busybox                0.0s
//!  => [2/4] RUN make                                             1.2s
//!  => => # the last lines of its output
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

use rbuild_builder::{Event, StepStatus};
use rbuild_graph::VertexDigest;

use super::Renderer;
use super::lines::{Lines, printable, tenths};
use crate::{environment, human, table};

/// Lines of output below a running step.
const LOG_LINES: usize = 6;
/// Time between two pictures, in nanoseconds.
const FRAME: i64 = 100_000_000;

/// The renderer.
#[derive(Debug)]
pub(super) struct Terminal {
    begun: i64,
    drawn_at: i64,
    /// Lines of the last picture, which the next one is drawn over.
    drawn: usize,
    color: bool,
    log_lines: usize,
    size: fn() -> (usize, usize),
    order: Vec<VertexDigest>,
    steps: BTreeMap<VertexDigest, Step>,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    started: Option<i64>,
    ended: Option<i64>,
    end: Option<End>,
    lines: Lines,
    log: VecDeque<String>,
    transfers: BTreeMap<String, Transfer>,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    current: u64,
    total: u64,
    started: i64,
    ended: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cached,
    Done,
    Cancelled,
    Failed,
}

impl Renderer for Terminal {
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        let time = self.take(event);
        if time - self.drawn_at >= FRAME { self.draw(time, "", out) } else { Ok(()) }
    }

    fn tick(&mut self, now: i64, out: &mut dyn Write) -> io::Result<()> {
        if now - self.drawn_at >= FRAME { self.draw(now, "", out) } else { Ok(()) }
    }

    fn finish(&mut self, now: i64, out: &mut dyn Write) -> io::Result<()> {
        self.draw(now, " FINISHED", out)
    }
}

impl Terminal {
    pub(super) fn new(now: i64) -> Terminal {
        Terminal {
            begun: now,
            drawn_at: now,
            drawn: 0,
            color: !environment::no_color(),
            log_lines: environment::terminal_log_lines().unwrap_or(LOG_LINES),
            size: window,
            order: Vec::new(),
            steps: BTreeMap::new(),
        }
    }

    fn take(&mut self, event: &Event) -> i64 {
        match event {
            Event::Vertex { vertex, name, inputs: _, status, time } => {
                let step = self.step(*vertex);
                name.clone_into(&mut step.name);
                step.set(status, *time);
                *time
            }
            Event::Status { vertex, id, current, total, time, completed } => {
                let transfers = &mut self.step(*vertex).transfers;
                let new = Transfer { current: 0, total: 0, started: *time, ended: None };
                let transfer = transfers.entry(id.clone()).or_insert(new);
                *transfer = Transfer { current: *current, total: *total, ended: completed.then_some(*time), ..*transfer };
                *time
            }
            Event::Log { vertex, stream: _, bytes, time } => {
                let keep = self.log_lines;
                let Step { lines, log, .. } = self.step(*vertex);
                lines.push(bytes, |line| log.push_back(printable(line)));
                let excess = log.len().saturating_sub(keep);
                drop(log.drain(..excess));
                *time
            }
            Event::Warning { .. } => self.drawn_at,
        }
    }

    fn step(&mut self, vertex: VertexDigest) -> &mut Step {
        if !self.steps.contains_key(&vertex) {
            self.order.push(vertex);
        }
        self.steps.entry(vertex).or_default()
    }

    /// Draws over the last picture. Each line is cut to the window, so that it takes one row.
    fn draw(&mut self, now: i64, state: &str, out: &mut dyn Write) -> io::Result<()> {
        let (rows, columns) = (self.size)();
        let mut picture = self.picture(now, columns);
        let room = if state.is_empty() { rows.saturating_sub(2).max(3) } else { usize::MAX };
        if picture.len() > room {
            drop(picture.drain(..picture.len() - room));
        }
        let known = self.steps.values().filter(|step| step.is_shown());
        let done = known.clone().filter(|step| step.end.is_some()).count();
        let head = format!("[+] Building {} ({done}/{}){state}", tenths(now - self.begun), known.count());
        if self.drawn > 0 {
            write!(out, "\x1b[{}A", self.drawn)?;
        }
        for line in std::iter::once(&head).chain(&picture) {
            writeln!(out, "\r{line}\x1b[K")?;
        }
        write!(out, "\x1b[J")?;
        self.drawn = picture.len() + 1;
        self.drawn_at = now;
        Ok(())
    }

    fn picture(&self, now: i64, columns: usize) -> Vec<String> {
        let mut picture = Vec::new();
        for step in self.order.iter().filter_map(|vertex| self.steps.get(vertex)).filter(|step| step.is_shown()) {
            picture.push(self.paint(step.end, &justified(&step.title(), &step.time(now), columns)));
            if step.end.is_some() {
                continue;
            }
            for (id, transfer) in &step.transfers {
                picture.push(justified(&format!(" => => {id}{}", transfer.amount()), &transfer.time(now), columns));
            }
            picture.extend(step.log.iter().map(|line| table::ellipsis(&format!(" => => # {line}"), columns)));
        }
        picture
    }

    fn paint(&self, end: Option<End>, line: &str) -> String {
        let code = match end {
            Some(End::Cached | End::Done) => 34,
            Some(End::Cancelled) => 33,
            Some(End::Failed) => 31,
            None => return line.to_owned(),
        };
        if self.color { format!("\x1b[{code}m{line}\x1b[0m") } else { line.to_owned() }
    }
}

impl Step {
    fn is_shown(&self) -> bool {
        self.started.is_some() || self.end.is_some()
    }

    fn set(&mut self, status: &StepStatus, time: i64) {
        let end = match status {
            StepStatus::Started => {
                self.started.get_or_insert(time);
                return;
            }
            StepStatus::Cached => End::Cached,
            StepStatus::Completed if self.end == Some(End::Cached) => return,
            StepStatus::Completed => End::Done,
            StepStatus::Cancelled => End::Cancelled,
            StepStatus::Failed(_) => End::Failed,
        };
        self.end = Some(end);
        self.ended = Some(time);
    }

    fn title(&self) -> String {
        let word = match self.end {
            Some(End::Cached) => "CACHED ",
            Some(End::Cancelled) => "CANCELED ",
            Some(End::Failed) => "ERROR ",
            Some(End::Done) | None => "",
        };
        format!(" => {word}{}", printable(self.name.as_bytes()))
    }

    fn time(&self, now: i64) -> String {
        tenths(self.started.map_or(0, |started| self.ended.unwrap_or(now) - started))
    }
}

impl Transfer {
    fn amount(&self) -> String {
        match (self.current, self.total) {
            (0, 0) => String::new(),
            (current, 0) => format!(" {}", human::bytes(current)),
            (current, total) => format!(" {} / {}", human::bytes(current), human::bytes(total)),
        }
    }

    fn time(&self, now: i64) -> String {
        tenths(self.ended.unwrap_or(now) - self.started)
    }
}

/// Text on the left, a time on the right, in exactly `columns`.
fn justified(text: &str, time: &str, columns: usize) -> String {
    let room = columns.saturating_sub(time.chars().count() + 1).max(8);
    let text = table::ellipsis(text, room);
    let padding = room - text.chars().count();
    format!("{text}{:padding$} {time}", "")
}

/// Rows and columns of standard error.
fn window() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or((24, 80), |size| (size.ws_row.into(), size.ws_col.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::script;

    #[test]
    fn the_last_picture_has_every_step() {
        let begun = 1_700_000_000 * script::SECOND;
        let mut terminal = Terminal { color: false, size: || (24, 60), ..Terminal::new(begun) };
        let text = script::play(&mut terminal, &script::build());
        let last = text.rsplit("A\r").next().unwrap().replace("\x1b[K", "").replace("\x1b[J", "").replace('\r', "");
        insta::assert_snapshot!(last);
    }

    #[test]
    fn a_picture_fits_the_window() {
        let mut terminal = Terminal { color: false, size: || (6, 20), ..Terminal::new(0) };
        let mut out = Vec::new();
        for number in 1..=9 {
            let event = script::vertex(number, "a rather long name of a step", StepStatus::Started, i64::from(number) * FRAME);
            terminal.event(&event, &mut out).unwrap();
        }
        assert_eq!(terminal.drawn, 5);
        let text = String::from_utf8(out).unwrap();
        let widest = text.replace("\x1b[K", "").lines().filter(|line| line.contains("=>")).map(|line| line.chars().count()).max();
        assert!(widest <= Some(22), "{widest:?}");
    }
}
