//! Typed instructions: what the parser understood, with spans.

use rbuild_oci::Healthcheck;

use crate::parse::Opening;
use crate::source::Span;

/// A piece of text and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instruction {
    /// The name as written.
    pub(crate) keyword: Word,
    /// From the name to the end of the last continuation or heredoc.
    pub(crate) span: Span,
    /// The logical line.
    pub(crate) code: String,
    /// Comment lines above it.
    pub(crate) comments: Vec<String>,
    pub(crate) kind: Kind,
}

/// What it says. Words are unexpanded, with their quotes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    From(From),
    Arg(Vec<Argument>),
    Env(Vec<Pair>),
    Label(Vec<Pair>),
    Run(Run),
    Copy(Transfer),
    Add(Transfer),
    Cmd(CommandLine),
    Entrypoint(CommandLine),
    Shell(Vec<String>),
    Healthcheck(Healthcheck),
    Expose(Vec<Word>),
    Volume(Vec<Word>),
    User(Word),
    Workdir(Word),
    StopSignal(Word),
    Maintainer(Word),
    /// The trigger's own text, heredocs included.
    Onbuild(Word),
}

/// `FROM base AS name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) base: Word,
    /// Lower case.
    pub(crate) name: Option<Word>,
    pub(crate) platform: Option<Word>,
}

/// `ARG key=default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) key: Word,
    pub(crate) default: Option<Word>,
}

/// `key=value` of ENV and LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: Word,
    pub(crate) value: Word,
    /// `ENV key rest of the line`.
    pub(crate) legacy: bool,
}

/// A command in exec or shell form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandLine {
    Exec(Vec<String>),
    Shell(String),
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) command: CommandLine,
    pub(crate) heredocs: Vec<Heredoc>,
    /// Values of `--mount`, read when variables are known.
    pub(crate) mounts: Vec<Word>,
    pub(crate) network: Option<(Network, Span)>,
    pub(crate) security: Option<(Security, Span)>,
    pub(crate) devices: Vec<Word>,
}

/// `RUN --network=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Default,
    None,
    Host,
}

/// `RUN --security=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Sandbox,
    Insecure,
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) sources: Vec<Word>,
    pub(crate) documents: Vec<Heredoc>,
    pub(crate) target: Word,
    pub(crate) chown: Option<Word>,
    pub(crate) chmod: Option<Word>,
    pub(crate) exclude: Vec<Word>,
    pub(crate) link: Option<(bool, Span)>,
    /// COPY only.
    pub(crate) from: Option<Word>,
    /// COPY only.
    pub(crate) parents: Option<(bool, Span)>,
    /// ADD only.
    pub(crate) keep_git_dir: Option<(bool, Span)>,
    /// ADD only.
    pub(crate) unpack: Option<(bool, Span)>,
    /// ADD only.
    pub(crate) checksum: Option<Word>,
}

/// A heredoc with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heredoc {
    pub(crate) opening: Opening,
    /// The lines between, as written.
    pub(crate) content: String,
}

impl Kind {
    /// Whether it may add a layer.
    pub(crate) fn is_step(&self) -> bool {
        match self {
            Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_) => true,
            Kind::From(_)
            | Kind::Arg(_)
            | Kind::Env(_)
            | Kind::Label(_)
            | Kind::Cmd(_)
            | Kind::Entrypoint(_)
            | Kind::Shell(_)
            | Kind::Healthcheck(_)
            | Kind::Expose(_)
            | Kind::Volume(_)
            | Kind::User(_)
            | Kind::StopSignal(_)
            | Kind::Maintainer(_)
            | Kind::Onbuild(_) => false,
        }
    }
}
