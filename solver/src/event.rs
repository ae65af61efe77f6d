//! The one event stream of a build, in BuildKit's shapes: vertex, status, log, warning (spec §4.7).

use rbuild_graph::VertexDigest;

/// Output stream of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// It began to work.
    Started,
    /// It came from the cache.
    Cached,
    /// It is done.
    Completed,
    /// It was abandoned because the build ends.
    Cancelled,
    /// It failed, with the message.
    Failed(String),
}

/// What happens in a build. Times are nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step's state changed.
    Vertex {
        /// Which.
        vertex: VertexDigest,
        /// Its name, as shown.
        name: String,
        /// Its inputs.
        inputs: Vec<VertexDigest>,
        /// The new state.
        status: StepStatus,
        /// When.
        time: i64,
    },
    /// Progress inside a step: bytes or items.
    Status {
        /// Which step.
        vertex: VertexDigest,
        /// Identity of the progress line inside the step.
        id: String,
        /// Done so far.
        current: u64,
        /// All there is, 0 when unknown.
        total: u64,
        /// When.
        time: i64,
        /// Whether it is finished.
        completed: bool,
    },
    /// Output of a process.
    Log {
        /// Which step.
        vertex: VertexDigest,
        /// Which stream.
        stream: LogStream,
        /// The bytes, not cut at lines.
        bytes: Vec<u8>,
        /// When.
        time: i64,
    },
    /// A warning, of a step or of the whole.
    Warning {
        /// Which step.
        vertex: Option<VertexDigest>,
        /// One line.
        short: String,
        /// More lines.
        detail: Vec<String>,
        /// Where in the Dockerfile: line numbers from 1.
        lines: Option<(u32, u32)>,
    },
}

/// Takes events. Must not block for long: renderers run elsewhere.
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event.
    fn send(&self, event: Event);

    /// The time to stamp events with: nanoseconds since the epoch.
    fn now(&self) -> i64;
}
