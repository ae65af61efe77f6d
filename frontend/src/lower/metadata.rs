//! Instructions that change the configuration: ENV, ARG, LABEL, CMD, ENTRYPOINT and the like, and WORKDIR.

use std::sync::LazyLock;

use rbuild_graph::{ActionInput, FileAction, FileActionKind, FileOp, InputIndex, MakeDir, Op, OutputIndex, Vertex};
use rbuild_oci::Healthcheck;
use regex::Regex;
use serde_json::Value;

use super::stage::Builder;
use super::{copy, names, signal};
use crate::diagnostic::Diagnostic;
use crate::expand::Lexer;
use crate::go_format;
use crate::instruction::{Argument, CommandLine, Instruction, Pair, Word};
use crate::lint::Rule;
use crate::source::Span;

/// ARGs that are read by the builder and are no variables.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?i)(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)")
        .expect("the pattern is a constant")
});
static NO_SECRET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("(?i)(?:_|^)(?:public|file|version)(?:_|$)").expect("the pattern is a constant"));

impl Builder<'_, '_> {
    /// All values of one ENV see the environment before it (spec G-1).
    pub(super) fn env(&mut self, pairs: &[Pair], instruction: &Instruction) {
        let Some(pairs) = self.pairs(pairs, instruction) else { return };
        for (name, value, span) in &pairs {
            self.lint_secret("ENV", name, span, instruction);
            self.state.env.set(name, value);
            self.state.set_image_env(name, value);
        }
        self.commit(format!("ENV {}", joined(&pairs)), None);
    }

    pub(super) fn label(&mut self, pairs: &[Pair], instruction: &Instruction) {
        let Some(pairs) = self.pairs(pairs, instruction) else { return };
        self.commit(format!("LABEL {}", joined(&pairs)), None);
        self.state.config.config.labels.extend(pairs.into_iter().map(|(name, value, _)| (name, value)));
    }

    fn pairs(&mut self, pairs: &[Pair], instruction: &Instruction) -> Option<Vec<(String, String, Span)>> {
        let mut expanded = Vec::with_capacity(pairs.len());
        for Pair { key, value, legacy } in pairs {
            if *legacy {
                let name = &instruction.keyword.text;
                let message = format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
                self.lowerer.findings.report(Rule::LegacyKeyValueFormat, &key.span, &instruction.comments, message);
            }
            let (name, text) = (self.expand(key, instruction), self.expand(value, instruction));
            expanded.push(name.zip(text).map(|(name, text)| (name, text, key.span.clone())));
        }
        expanded.into_iter().collect()
    }

    fn lint_secret(&mut self, instruction_name: &str, name: &str, span: &Span, instruction: &Instruction) {
        if SECRET.is_match(name) && !NO_SECRET.is_match(name) {
            let name = go_format::quote_short(name);
            let message = format!("Do not use ARG or ENV instructions for sensitive data ({instruction_name} {name})");
            self.lowerer.findings.report(Rule::SecretsUsedInArgOrEnv, span, &instruction.comments, message);
        }
    }

    /// A build argument goes before the stage's default, that before the global value (spec G-2).
    pub(super) fn arg(&mut self, arguments: &[Argument], instruction: &Instruction) {
        let mut written = Vec::with_capacity(arguments.len());
        for Argument { key, default } in arguments {
            self.lint_secret("ARG", &key.text, &key.span, instruction);
            let given = self.lowerer.options.build_args.get(&key.text).cloned();
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, None) => self.globals.values.0.get(&key.text).cloned(),
                (None, Some(word)) => match self.expand(word, instruction) {
                    Some(value) => Some(value),
                    None => return,
                },
            };
            if let Some(value) = value.as_deref().filter(|_| !NO_VARIABLES.contains(&key.text.as_str())) {
                self.state.env.set(&key.text, value);
            }
            written.push(value.as_ref().map_or(key.text.clone(), |value| format!("{}={value}", key.text)));
            self.state.arguments.push((key.text.clone(), value));
        }
        self.commit(format!("ARG {}", written.join(" ")), None);
    }

    pub(super) fn cmd(&mut self, command: &CommandLine, instruction: &Instruction) {
        let before = self.once.cmd.replace(instruction.span.clone());
        self.lint_once(before, instruction);
        let words = self.command(command, instruction);
        self.commit(format!("CMD {}", go_format::quoted_list(&words)), None);
        let config = &mut self.state.config.config;
        config.args_escaped = Some(true);
        config.cmd = Some(words).filter(|words| !words.is_empty());
    }

    /// An entry point resets the base's command, but not one of this stage (spec G-13).
    pub(super) fn entrypoint(&mut self, command: &CommandLine, instruction: &Instruction) {
        let before = self.once.entrypoint.replace(instruction.span.clone());
        self.lint_once(before, instruction);
        let words = self.command(command, instruction);
        self.commit(format!("ENTRYPOINT {}", go_format::quoted_list(&words)), None);
        let config = &mut self.state.config.config;
        config.entrypoint = Some(words).filter(|words| !words.is_empty());
        if self.once.cmd.is_none() {
            config.cmd = None;
        }
    }

    fn command(&mut self, command: &CommandLine, instruction: &Instruction) -> Vec<String> {
        match command {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(text) => {
                if self.state.config.config.shell.as_ref().is_none_or(Vec::is_empty) {
                    let name = &instruction.keyword.text;
                    let message =
                        format!("JSON arguments recommended for {name} to prevent unintended behavior related to OS signals");
                    let span = &instruction.span;
                    self.lowerer.findings.report(Rule::JsonArgsRecommended, span, &instruction.comments, message);
                }
                let mut words = self.state.shell();
                words.push(text.clone());
                words
            }
        }
    }

    /// Only the last one counts; the one before is shown.
    fn lint_once(&mut self, before: Option<Span>, instruction: &Instruction) {
        let Some(span) = before else { return };
        let name = &instruction.keyword.text;
        let message =
            format!("Multiple {name} instructions should not be used in the same stage because only the last one will be used");
        self.lowerer.findings.report(Rule::MultipleInstructionsDisallowed, &span, &instruction.comments, message);
    }

    pub(super) fn healthcheck(&mut self, check: &Healthcheck, instruction: &Instruction) {
        let before = self.once.healthcheck.replace(instruction.span.clone());
        self.lint_once(before, instruction);
        let Healthcheck { test, interval, timeout, start_period, start_interval, retries } = check;
        let shown = format!(
            "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{retries}}}",
            go_format::list(test),
            go_format::duration(*interval),
            go_format::duration(*timeout),
            go_format::duration(*start_period),
            go_format::duration(*start_interval),
        );
        self.commit(shown, None);
        self.state.config.config.healthcheck = Some(check.clone());
    }

    pub(super) fn shell(&mut self, words: &[String]) {
        self.commit(format!("SHELL {}", go_format::list(words)), None);
        self.state.config.config.shell = Some(words.to_vec());
    }

    pub(super) fn volume(&mut self, paths: &[Word], instruction: &Instruction) {
        let expanded: Vec<Option<String>> = paths.iter().map(|path| self.expand(path, instruction)).collect();
        let Some(paths) = expanded.into_iter().collect::<Option<Vec<String>>>() else { return };
        if paths.iter().any(String::is_empty) {
            let message = "VOLUME specified can not be an empty string";
            self.lowerer.diagnostics.push(Diagnostic::error("empty-volume", message, instruction.span.clone()));
            return;
        }
        self.commit(format!("VOLUME {}", go_format::list(&paths)), None);
        let empty = || Value::Object(serde_json::Map::new());
        self.state.config.config.volumes.extend(paths.into_iter().map(|path| (path, empty())));
    }

    pub(super) fn user(&mut self, user: &Word, instruction: &Instruction) {
        let Some(user) = self.expand(user, instruction) else { return };
        self.commit(format!("USER {user}"), None);
        self.state.config.config.user = user;
    }

    pub(super) fn stop_signal(&mut self, word: &Word, instruction: &Instruction) {
        let Some(text) = self.expand(word, instruction) else { return };
        if let Err(near) = signal::check(&text) {
            let wrong = Diagnostic::error("invalid-signal", format!("invalid signal: {text}"), word.span.clone());
            self.lowerer.diagnostics.push(wrong.did_you_mean(near));
            return;
        }
        self.commit(format!("STOPSIGNAL {text}"), None);
        self.state.config.config.stop_signal = Some(text);
    }

    pub(super) fn maintainer(&mut self, author: &Word) {
        self.commit(format!("MAINTAINER {}", author.text), None);
        self.state.config.author = Some(author.text.clone());
    }

    /// Changes the directory, and makes it as a layer (spec G-57).
    pub(super) fn workdir(&mut self, word: &Word, instruction: &Instruction) {
        let Some(path) = self.expand(word, instruction) else { return };
        if !self.state.workdir_set && !path.starts_with('/') {
            let quoted = go_format::quote_short(&path);
            let message = format!("Relative workdir {quoted} can have unexpected results if the base image changes");
            self.lowerer.findings.report(Rule::WorkdirRelativePath, &word.span, &instruction.comments, message);
        }
        self.state.workdir_set = true;
        let directory = match path.as_str() {
            "" => self.state.directory.clone(),
            path if path.starts_with('/') => path.to_owned(),
            path => copy::clean(&format!("{}/{path}", self.state.directory)),
        };
        self.state.config.config.working_dir.clone_from(&directory);
        self.state.directory.clone_from(&directory);
        let layer = if directory == "/" { None } else { Some(self.make_directory(&directory, instruction)) };
        self.commit(format!("WORKDIR {directory}"), layer);
    }

    fn make_directory(&mut self, directory: &str, instruction: &Instruction) -> rbuild_graph::Edge {
        let text = names::shown(&instruction.code, Lexer::new(self.lowerer.file.directives.escape), &self.state.env);
        let meta = self.meta(&text, instruction, false);
        let user = &self.state.config.config.user;
        let owner = if user.is_empty() { None } else { Some(copy::owner(user)) };
        let path = copy::clean(directory);
        let make = MakeDir { path, mode: 0o755, parents: true, owner, created: self.created() };
        let base = self.state.edge.map_or(ActionInput::Scratch, |_| ActionInput::Input(InputIndex(0)));
        let action = FileAction { base, kind: FileActionKind::MakeDir(make), output: Some(OutputIndex(0)) };
        let inputs = self.state.edge.into_iter().collect();
        let platform = self.state.platform.clone();
        let edge = self.lowerer.add(Vertex { op: Op::File(FileOp { actions: vec![action] }), inputs, platform }, meta);
        self.state.edge = Some(edge);
        edge
    }
}

fn joined(pairs: &[(String, String, Span)]) -> String {
    let written: Vec<String> = pairs.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
    written.join(" ")
}
