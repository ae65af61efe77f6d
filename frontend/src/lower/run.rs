//! RUN: a process on the stage's files.

use rbuild_graph::{
    ActionInput, Edge, ExecOp, FileAction, FileActionKind, FileOp, InputIndex, MakeFile, Mount, MountKind, NetworkMode, Op,
    OutputIndex, SecretEnv, SecurityMode, Vertex, VertexMeta,
};

use super::stage::Builder;
use super::stages::Step;
use super::{copy, names};
use crate::diagnostic::Diagnostic;
use crate::expand::{Lexer, Quotes, Variables};
use crate::instruction::{CommandLine, Heredoc, Instruction, Network, Run, Security};
use crate::parse::opening;

/// Where scripts from heredocs are seen by the process.
const SCRIPTS: &str = "/dev/pipes";
const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// Inputs and mounts of an Exec as they are collected.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) inputs: Vec<Edge>,
    pub(super) mounts: Vec<Mount>,
    pub(super) secret_env: Vec<SecretEnv>,
}

impl Mounts {
    /// The index of an edge as an input of its own.
    pub(super) fn input(&mut self, edge: Edge) -> InputIndex {
        self.inputs.push(edge);
        InputIndex(u32::try_from(self.inputs.len() - 1).expect("fewer inputs than bytes in the file"))
    }
}

/// A shell form's text, or a script with its own interpreter.
enum Script {
    Text(String),
    File { name: String, body: String },
}

impl Builder<'_, '_> {
    pub(super) fn run(&mut self, run: &Run, step: &Step<'_>) {
        let Run { command, heredocs, mounts, network, security, devices } = run;
        let instruction = step.instruction.as_ref();
        let before = self.lowerer.errors();
        if let Some((Security::Insecure, span)) = security {
            self.lowerer.diagnostics.push(self.refuse_insecure(span.clone()));
        }
        for device in devices {
            self.lowerer.diagnostics.push(Diagnostic::unsupported("RUN --device", device.span.clone()));
        }
        self.check_platform(instruction);
        let network = self.network(network.as_ref(), instruction);
        let mut collected = Mounts::default();
        let root = self.state.edge.map(|edge| collected.input(edge));
        collected.mounts.push(Mount {
            input: root,
            selector: None,
            target: "/".into(),
            output: Some(OutputIndex(0)),
            readonly: false,
            kind: MountKind::Bind,
        });
        let args = self.arguments(command, heredocs, &mut collected);
        self.mounts(mounts, step, &mut collected);
        if self.lowerer.errors() > before {
            return;
        }
        let meta = self.run_meta(heredocs, instruction);
        let created_by = format!("RUN {} # buildkit", self.history_command(&args));
        let Mounts { inputs, mounts, secret_env } = collected;
        let op = Op::Exec(self.exec(args, network, mounts, secret_env));
        let vertex = Vertex { op, inputs, platform: self.state.platform.clone() };
        let edge = self.lowerer.add(vertex, meta);
        self.state.edge = Some(edge);
        self.commit(created_by, Some(edge));
    }

    fn exec(&self, args: Vec<String>, network: NetworkMode, mounts: Vec<Mount>, secret_env: Vec<SecretEnv>) -> ExecOp {
        let options = self.lowerer.options;
        let hostname = options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME").filter(|name| !name.is_empty());
        ExecOp {
            args,
            env: self.state.env.entries(),
            cwd: copy::clean(&self.state.directory),
            user: self.state.config.config.user.clone(),
            hostname: hostname.map_or(DEFAULT_HOSTNAME.to_owned(), Clone::clone),
            network,
            security: SecurityMode::Sandbox,
            extra_hosts: options.extra_hosts.clone(),
            ulimits: options.ulimits.clone(),
            shm_size: options.shm_size,
            cgroup_parent: None,
            proxy: self.globals.proxy.clone(),
            secret_env,
            mounts,
        }
    }

    fn refuse_insecure(&self, span: crate::source::Span) -> Diagnostic {
        if self.lowerer.options.allow_insecure {
            return Diagnostic::unsupported("RUN --security=insecure", span);
        }
        Diagnostic::error("not-allowed", "security.insecure is not allowed", span).hint("allow it with --allow security.insecure")
    }

    /// A foreign processor's programs need an emulator.
    fn check_platform(&mut self, instruction: &Instruction) {
        let host = &self.lowerer.options.build_platform;
        if host.accepts(&self.state.platform).is_none() {
            let what = format!("RUN for {} on {host}", self.state.platform);
            self.lowerer.diagnostics.push(Diagnostic::unsupported(&what, instruction.keyword.span.clone()));
        }
    }

    fn network(&mut self, flag: Option<&(Network, crate::source::Span)>, instruction: &Instruction) -> NetworkMode {
        let default = self.lowerer.options.network.unwrap_or(NetworkMode::Sandbox);
        let (network, span) = match flag {
            Some((Network::Host, span)) => (NetworkMode::Host, span),
            Some((Network::None, span)) => (NetworkMode::None, span),
            Some((Network::Default, span)) => (default, span),
            None => (default, &instruction.keyword.span),
        };
        if network == NetworkMode::Host && !self.lowerer.options.allow_host_network {
            let refused = Diagnostic::error("not-allowed", "network.host is not allowed", span.clone());
            self.lowerer.diagnostics.push(refused.hint("allow it with --allow network.host"));
        }
        network
    }

    /// The argument vector; a script of a heredoc becomes a mount.
    fn arguments(&mut self, command: &CommandLine, heredocs: &[Heredoc], mounts: &mut Mounts) -> Vec<String> {
        let text = match command {
            CommandLine::Exec(words) => return words.clone(),
            CommandLine::Shell(text) => text,
        };
        let text = match self.script(text, heredocs) {
            Script::Text(text) => text,
            Script::File { name, body } => {
                let path = format!("/{name}");
                let file = self.documents(vec![(path, body)], 0o755);
                let input = mounts.input(file);
                mounts.mounts.push(Mount {
                    input: Some(input),
                    selector: None,
                    target: SCRIPTS.into(),
                    output: None,
                    readonly: true,
                    kind: MountKind::Bind,
                });
                format!("{SCRIPTS}/{name}")
            }
        };
        let mut args = self.state.shell();
        args.push(text);
        args
    }

    /// What the shell gets (spec §1.3).
    fn script(&self, text: &str, heredocs: &[Heredoc]) -> Script {
        let Some(first) = heredocs.first() else { return Script::Text(text.to_owned()) };
        if opening(text).is_none() {
            let mut whole = text.to_owned();
            for Heredoc { opening, content } in heredocs {
                whole.extend(["\n", content.as_str(), opening.name.as_str()]);
            }
            return Script::Text(whole);
        }
        let body = first.body();
        if self.state.platform.os != "windows" && body.starts_with("#!") {
            return Script::File { name: first.opening.name.clone(), body };
        }
        Script::Text(body)
    }

    /// Files made from nothing.
    pub(super) fn documents(&mut self, files: Vec<(String, String)>, mode: u32) -> Edge {
        let last = files.len().saturating_sub(1);
        let mut actions = Vec::with_capacity(files.len());
        for (position, (path, body)) in files.into_iter().enumerate() {
            let base = match u32::try_from(position).ok().and_then(|position| position.checked_sub(1)) {
                Some(before) => ActionInput::Action(before),
                None => ActionInput::Scratch,
            };
            let made = MakeFile { path, content: body.into_bytes(), mode, owner: None, created: self.created() };
            let output = (position == last).then_some(OutputIndex(0));
            actions.push(FileAction { base, kind: FileActionKind::MakeFile(made), output });
        }
        let meta = VertexMeta {
            name: "[internal] preparing inline document".into(),
            stage: self.counter.title().to_owned(),
            ..VertexMeta::default()
        };
        let platform = self.state.platform.clone();
        self.lowerer.add(Vertex { op: Op::File(FileOp { actions }), inputs: Vec::new(), platform }, meta)
    }

    fn run_meta(&mut self, heredocs: &[Heredoc], instruction: &Instruction) -> VertexMeta {
        let lexer = Lexer { quotes: Quotes::Keep, keep_unset: true, ..Lexer::new(self.lowerer.file.directives.escape) };
        let code = match heredocs.first() {
            Some(first) if heredocs.len() == 1 => format!("{} ({})", instruction.code, names::summary(&first.content)),
            Some(_) | None => instruction.code.clone(),
        };
        let text = names::shown(&code, lexer, &self.state.env);
        self.meta(&text, instruction, true)
    }

    /// The history's form: the ARGs in scope come first, `|2 A=1 B=2 /bin/sh -c …`.
    fn history_command(&self, args: &[String]) -> String {
        let mut arguments: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &self.state.arguments {
            let value = self.state.env.value(name).or(value.as_deref()).unwrap_or_default();
            match arguments.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 = value,
                None => arguments.push((name, value)),
            }
        }
        let mut words: Vec<String> = Vec::new();
        if !arguments.is_empty() {
            words.push(format!("|{}", arguments.len()));
        }
        words.extend(arguments.into_iter().map(|(name, value)| format!("{name}={value}")));
        words.extend_from_slice(args);
        words.join(" ")
    }
}
