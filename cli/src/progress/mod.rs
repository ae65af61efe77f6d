//! Progress of a build, shown on standard error by one thread that alone writes there while the build runs.

mod lines;
mod plain;
mod rawjson;
mod tail;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail};
use rbuild_builder::{Event, EventSink};

pub(crate) use tail::FailedStep;

use crate::{clock, environment};

/// Events that may wait for the renderer before a step that makes more of them has to.
const QUEUE: usize = 512;
/// Time between two pictures on a terminal.
const FRAME: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Lines in BuildKit's plain shapes.
    Plain,
    /// A picture that is drawn again and again.
    Terminal,
    /// BuildKit's status objects, one JSON line for each.
    RawJson,
    /// Nothing but the image's id at the end.
    Quiet,
    /// Nothing at all.
    None,
}

impl Kind {
    /// What `--progress` means; `auto` looks at standard error.
    pub(crate) fn parse(text: &str) -> Result<Kind> {
        Ok(match text {
            "auto" if io::stderr().is_terminal() && !environment::dumb_terminal() => Kind::Terminal,
            "auto" | "plain" => Kind::Plain,
            "tty" if io::stderr().is_terminal() => Kind::Terminal,
            "tty" => bail!("--progress=tty needs a terminal"),
            "rawjson" => Kind::RawJson,
            "quiet" => Kind::Quiet,
            "none" => Kind::None,
            other => bail!("there is no progress `{other}`; there are auto, plain, tty, rawjson, quiet and none"),
        })
    }
}

/// Shows events. Calls come from one thread, in order.
trait Renderer: Send {
    /// Takes one event.
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()>;
    /// Some time has passed: nanoseconds since the epoch.
    fn tick(&mut self, now: i64, out: &mut dyn Write) -> io::Result<()>;
    /// The build has ended.
    fn finish(&mut self, now: i64, out: &mut dyn Write) -> io::Result<()>;
}

/// Shows nothing.
struct Silent;

impl Renderer for Silent {
    fn event(&mut self, _event: &Event, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self, _now: i64, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _now: i64, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// The running display.
pub(crate) struct Progress {
    sender: SyncSender<Message>,
    thread: JoinHandle<Vec<FailedStep>>,
}

enum Message {
    Event(Event),
    End,
}

struct Sink {
    sender: SyncSender<Message>,
}

impl EventSink for Sink {
    fn send(&self, event: Event) {
        // After the end of the display nobody looks any more.
        drop(self.sender.send(Message::Event(event)));
    }

    fn now(&self) -> i64 {
        clock::now()
    }
}

impl Progress {
    /// Starts the display.
    pub(crate) fn start(kind: Kind) -> Progress {
        let (sender, receiver) = sync_channel(QUEUE);
        let renderer: Box<dyn Renderer> = match kind {
            Kind::Plain => Box::new(plain::Plain::new()),
            Kind::Terminal => Box::new(terminal::Terminal::new(clock::now())),
            Kind::RawJson => Box::new(rawjson::RawJson::new()),
            Kind::Quiet | Kind::None => Box::new(Silent),
        };
        let thread = std::thread::spawn(move || show(renderer, &receiver));
        Progress { sender, thread }
    }

    /// Where the build sends its events.
    pub(crate) fn sink(&self) -> Arc<dyn EventSink> {
        Arc::new(Sink { sender: self.sender.clone() })
    }

    /// Shows what is left and returns the steps that failed, with their last output.
    pub(crate) fn finish(self) -> Vec<FailedStep> {
        drop(self.sender.send(Message::End));
        self.thread.join().unwrap_or_default()
    }
}

/// The display's thread. When standard error is closed the build goes on unseen.
fn show(mut renderer: Box<dyn Renderer>, receiver: &Receiver<Message>) -> Vec<FailedStep> {
    let mut tail = tail::Tail::default();
    let mut out = io::BufWriter::new(io::stderr());
    let mut open = true;
    loop {
        let message = receiver.recv_timeout(FRAME);
        let shown = match &message {
            Ok(Message::Event(event)) => {
                tail.event(event);
                if open { renderer.event(event, &mut out) } else { Ok(()) }
            }
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) if open => renderer.finish(clock::now(), &mut out),
            Err(RecvTimeoutError::Timeout) if open => renderer.tick(clock::now(), &mut out),
            Ok(Message::End) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(()),
        };
        open &= shown.and_then(|()| out.flush()).is_ok();
        if matches!(message, Ok(Message::End) | Err(RecvTimeoutError::Disconnected)) {
            return tail.failed();
        }
    }
}

/// A script of events for the renderers' tests.
#[cfg(test)]
mod script {
    use rbuild_builder::{Event, LogStream, StepStatus};
    use rbuild_graph::VertexDigest;

    use super::Renderer;

    pub(super) const SECOND: i64 = 1_000_000_000;

    pub(super) fn vertex(number: u8, name: &str, status: StepStatus, at: i64) -> Event {
        let inputs = if number > 1 { vec![VertexDigest([number - 1; 32])] } else { Vec::new() };
        Event::Vertex { vertex: VertexDigest([number; 32]), name: name.to_owned(), inputs, status, time: at }
    }

    pub(super) fn log(number: u8, bytes: &str, at: i64) -> Event {
        Event::Log { vertex: VertexDigest([number; 32]), stream: LogStream::Stdout, bytes: bytes.as_bytes().to_vec(), time: at }
    }

    pub(super) fn status(number: u8, id: &str, current: u64, total: u64, at: i64, completed: bool) -> Event {
        Event::Status { vertex: VertexDigest([number; 32]), id: id.to_owned(), current, total, time: at, completed }
    }

    pub(super) fn warning(number: u8, short: &str) -> Event {
        Event::Warning {
            vertex: Some(VertexDigest([number; 32])),
            short: short.to_owned(),
            detail: Vec::new(),
            lines: Some((3, 3)),
        }
    }

    /// A build of five steps: one cached, two at once, one that fails.
    pub(super) fn build() -> Vec<Event> {
        let start = 1_700_000_000 * SECOND;
        let at = |tenths: i64| start + tenths * SECOND / 10;
        vec![
            vertex(1, "[internal] load build context", StepStatus::Started, at(0)),
            status(1, "transferring context", 1_500_000, 0, at(1), true),
            vertex(1, "[internal] load build context", StepStatus::Completed, at(1)),
            vertex(2, "[1/3] FROM docker.io/library/busybox", StepStatus::Cached, at(1)),
            vertex(3, "[build 2/3] RUN make", StepStatus::Started, at(2)),
            vertex(4, "[stage-1 2/2] RUN true", StepStatus::Started, at(2)),
            log(3, "compiling\npart", at(3)),
            log(4, "hidden until its turn\n", at(4)),
            log(3, "ly\n", at(5)),
            warning(3, "the linker is old"),
            vertex(4, "[stage-1 2/2] RUN true", StepStatus::Completed, at(6)),
            log(3, "no newline at the end", at(7)),
            vertex(3, "[build 2/3] RUN make", StepStatus::Failed("exit code: 2".to_owned()), at(125)),
            vertex(5, "[build 3/3] RUN ls", StepStatus::Started, at(125)),
            vertex(5, "[build 3/3] RUN ls", StepStatus::Cancelled, at(126)),
        ]
    }

    pub(super) fn play(renderer: &mut dyn Renderer, events: &[Event]) -> String {
        let mut out = Vec::new();
        for event in events {
            renderer.event(event, &mut out).unwrap();
        }
        renderer.finish(1_700_000_013 * SECOND, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        for (text, kind) in [("plain", Kind::Plain), ("rawjson", Kind::RawJson), ("quiet", Kind::Quiet), ("none", Kind::None)] {
            assert_eq!(Kind::parse(text).unwrap(), kind);
        }
        assert!(Kind::parse("fancy").is_err());
    }

    #[test]
    fn the_display_returns_what_failed() {
        let progress = Progress::start(Kind::None);
        let sink = progress.sink();
        script::build().into_iter().for_each(|event| sink.send(event));
        let failed = progress.finish();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].name, "[build 2/3] RUN make");
        assert_eq!(failed[0].lines, ["0.100 compiling", "0.300 partly", "0.500 no newline at the end"]);
        sink.send(script::log(1, "too late\n", 0));
    }
}
