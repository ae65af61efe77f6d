//! One stage: its base, then its steps in order.

use std::collections::BTreeSet;

use rbuild_graph::{Edge, ImageSource, LocalSource, Op, SourceOp, Vertex, VertexMeta};
use rbuild_oci::{History, Reference};

use super::Lowerer;
use super::globals::Globals;
use super::names::Counter;
use super::stages::{Base, Origin, Plan, Step};
use super::state::State;
use crate::diagnostic::Diagnostic;
use crate::expand::{ExpandError, Expanded, Lexer};
use crate::instruction::{Instruction, Kind, Word};
use crate::lint::Rule;
use crate::options::{BaseImage, HistoryStep, ImageNeed, ImageSpec, NoCache};
use crate::source::Span;
use crate::suggest;

/// What history entries of this language are marked with.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// A lowered stage.
pub(super) struct Finished {
    pub(super) state: State,
    /// Its own entries, and the base image's if it starts from one.
    pub(super) history: Vec<HistoryStep>,
}

/// A stage while it is lowered.
pub(super) struct Builder<'b, 'a> {
    pub(super) lowerer: &'b mut Lowerer<'a>,
    pub(super) globals: &'b Globals,
    pub(super) finished: &'b [Option<Finished>],
    pub(super) state: State,
    pub(super) history: Vec<HistoryStep>,
    pub(super) counter: Counter,
    /// Where instructions that count once were seen in this stage.
    pub(super) once: Once,
    pub(super) ignore_cache: bool,
}

/// Places of the last CMD, ENTRYPOINT and HEALTHCHECK.
#[derive(Default)]
pub(super) struct Once {
    pub(super) cmd: Option<Span>,
    pub(super) entrypoint: Option<Span>,
    pub(super) healthcheck: Option<Span>,
}

impl<'a> Lowerer<'a> {
    /// Lowers a stage whose needs are lowered.
    pub(super) fn stage(
        &mut self,
        plan: &Plan<'a>,
        globals: &Globals,
        finished: &[Option<Finished>],
        index: usize,
    ) -> Option<Finished> {
        let stage = &plan.stages[index];
        let from_stage = matches!(stage.base, Base::Stage(_));
        let has_source = matches!(stage.base, Base::Image(_));
        let steps = stage.steps.iter().filter(|step| step.instruction.kind.is_step()).count();
        let mut counter = Counter::new(plan.title(index), steps + usize::from(has_source));
        let state = self.base_state(plan, finished, index, &mut counter)?;
        let base_history =
            if from_stage { Vec::new() } else { state.base.as_ref().map_or(Vec::new(), |base| base.config.history.clone()) };
        let history = base_history.into_iter().map(|entry| HistoryStep { entry, layer: None }).collect();
        let ignore_cache = match &self.options.no_cache {
            NoCache::No => false,
            NoCache::All => true,
            NoCache::Stages(names) => {
                let name = stage.name.as_deref().unwrap_or_default();
                names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
            }
        };
        let once = Once::default();
        let mut builder = Builder { lowerer: self, globals, finished, state, history, counter, once, ignore_cache };
        for step in &stage.steps {
            builder.step(step);
        }
        let Builder { state, history, .. } = builder;
        Some(Finished { state, history })
    }

    fn base_state(
        &mut self,
        plan: &Plan<'a>,
        finished: &[Option<Finished>],
        index: usize,
        counter: &mut Counter,
    ) -> Option<State> {
        let stage = &plan.stages[index];
        let lines = self.file.lines.lines(&stage.instruction.span);
        match &stage.base {
            // Like BuildKit, whatever FROM says: nothing has no platform of its own.
            Base::Scratch => Some(State::scratch(&self.options.target_platform)),
            Base::Stage(base) => Some(finished[*base].as_ref()?.state.inherited()),
            Base::Local(name) => {
                let edge = self.local(name);
                let mut state = State::scratch(&stage.platform);
                state.edge = Some(edge);
                Some(state)
            }
            Base::Image(need) => {
                let text = format!("FROM {}", self.image_name(need, &stage.base_name));
                let meta = VertexMeta { lines: Some(lines), ..counter.meta(&text, false) };
                let base = self.base_image(need, &stage.base_name)?;
                self.lint_base_platform(stage, &base);
                let edge = if is_empty(&base.config) { None } else { Some(self.image_vertex(need, meta)?) };
                Some(State::image(edge, &stage.platform, base))
            }
        }
    }

    fn lint_base_platform(&mut self, stage: &super::stages::Stage<'_>, base: &BaseImage) {
        let Some(actual) = &base.config.platform else { return };
        let expected = &stage.platform;
        if (&expected.os, &expected.architecture) == (&actual.os, &actual.architecture) {
            return;
        }
        let (name, instruction) = (&stage.base_name, stage.instruction);
        let (actual, expected) = (actual.normalised(), expected.normalised());
        let message =
            format!("Base image {name} was pulled with platform \"{actual}\", expected \"{expected}\" for current build");
        self.findings.report(Rule::InvalidBaseImagePlatform, &instruction.span, &instruction.comments, message);
    }

    fn base_image(&self, need: &ImageNeed, written: &str) -> Option<BaseImage> {
        let resolved = self.resolved.images.get(need)?;
        let reference = written.to_owned();
        Some(BaseImage { manifest: resolved.manifest.clone(), config: resolved.config.clone(), reference })
    }

    /// The whole reference with the digest it resolved to.
    fn image_name(&self, need: &ImageNeed, written: &str) -> String {
        let name = match &need.reference {
            ImageSpec::Reference(text) => text,
            ImageSpec::Layout(_) => &written.to_owned(),
        };
        let digest = self.resolved.images.get(need).map(|resolved| resolved.manifest.clone());
        match (Reference::parse(name), digest) {
            (Ok(reference), Some(digest)) => reference.with_digest(digest).to_string(),
            (Ok(reference), None) => reference.to_string(),
            (Err(_), Some(digest)) => format!("{name}@{digest}"),
            (Err(_), None) => name.clone(),
        }
    }

    fn image_vertex(&mut self, need: &ImageNeed, meta: VertexMeta) -> Option<Edge> {
        let manifest = self.resolved.images.get(need)?.manifest.clone();
        let op = Op::Source(SourceOp::Image(ImageSource { manifest }));
        Some(self.add(Vertex { op, inputs: Vec::new(), platform: need.platform.clone() }, meta))
    }

    /// A directory of the client: `context`, or a named one.
    pub(super) fn local(&mut self, name: &str) -> Edge {
        let op = Op::Source(SourceOp::Local(LocalSource { name: name.to_owned() }));
        let title = if name == "context" {
            "[internal] load build context".to_owned()
        } else {
            format!("[context {name}] load from client")
        };
        let meta = VertexMeta { name: title, ..VertexMeta::default() };
        // One platform for all uses, so that a directory is one vertex.
        self.add(Vertex { op, inputs: Vec::new(), platform: self.options.target_platform.clone() }, meta)
    }
}

impl Builder<'_, '_> {
    fn step(&mut self, step: &Step<'_>) {
        let instruction = step.instruction.as_ref();
        self.counter.trigger = step.trigger;
        match &instruction.kind {
            Kind::From(_) => {}
            Kind::Arg(arguments) => self.arg(arguments, instruction),
            Kind::Env(pairs) => self.env(pairs, instruction),
            Kind::Label(pairs) => self.label(pairs, instruction),
            Kind::Run(run) => self.run(run, step),
            Kind::Copy(copy) => self.copy(copy, step, false),
            Kind::Add(add) => self.copy(add, step, true),
            Kind::Cmd(command) => self.cmd(command, instruction),
            Kind::Entrypoint(command) => self.entrypoint(command, instruction),
            Kind::Shell(words) => self.shell(words),
            Kind::Healthcheck(check) => self.healthcheck(check, instruction),
            Kind::Expose(ports) => self.expose(ports, instruction),
            Kind::Volume(paths) => self.volume(paths, instruction),
            Kind::User(user) => self.user(user, instruction),
            Kind::Workdir(path) => self.workdir(path, instruction),
            Kind::StopSignal(signal) => self.stop_signal(signal, instruction),
            Kind::Maintainer(author) => self.maintainer(author),
            Kind::Onbuild(trigger) => self.state.config.config.on_build.push(trigger.text.clone()),
        }
    }

    /// The files of an origin; `None` is the empty file system. A stage that is not there yet is reported with `message`.
    pub(super) fn origin(&mut self, origin: &Origin, message: String, span: &Span) -> Result<Option<Edge>, ()> {
        match origin {
            Origin::Context => Ok(Some(self.lowerer.local("context"))),
            Origin::Scratch => Ok(None),
            Origin::Local(name) => Ok(Some(self.lowerer.local(name))),
            Origin::Stage(index) => match self.finished.get(*index) {
                Some(Some(finished)) => Ok(finished.state.edge),
                // Lowering that stage failed, and said so.
                Some(None) => Err(()),
                None => {
                    let wrong = Diagnostic::error("forward-reference", message, span.clone());
                    self.lowerer.diagnostics.push(wrong.hint("move that stage up, before the stage that uses it"));
                    Err(())
                }
            },
            Origin::Image(need) => {
                let (ImageSpec::Reference(written) | ImageSpec::Layout(written)) = &need.reference;
                let name = format!("FROM {}", self.lowerer.image_name(need, written));
                let image = self.lowerer.resolved.images.get(need).ok_or(())?;
                if is_empty(&image.config) {
                    return Ok(None);
                }
                Ok(self.lowerer.image_vertex(need, VertexMeta { name, ..VertexMeta::default() }))
            }
        }
    }

    /// Expands a word; a mistake is reported.
    pub(super) fn expand(&mut self, word: &Word, instruction: &Instruction) -> Option<String> {
        let lexer = Lexer::new(self.lowerer.file.directives.escape);
        let expanded = lexer.word(&word.text, &self.state.env);
        self.expanded(expanded, word, instruction).map(|expanded| expanded.text)
    }

    /// Reports what expanding found.
    pub(super) fn expanded(
        &mut self,
        expanded: Result<Expanded, ExpandError>,
        word: &Word,
        instruction: &Instruction,
    ) -> Option<Expanded> {
        match expanded {
            Ok(expanded) => {
                self.lint_unset(&expanded.unset, word, instruction);
                Some(expanded)
            }
            Err(error) => {
                self.lowerer.diagnostics.push(error.diagnostic(word));
                None
            }
        }
    }

    fn lint_unset(&mut self, unset: &BTreeSet<String>, word: &Word, instruction: &Instruction) {
        for name in unset {
            if self.state.arguments.iter().any(|(argument, _)| argument == name) {
                continue;
            }
            let near = suggest::nearest(name, self.state.env.names());
            let near = near.map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
            let message = format!("Usage of undefined variable '${name}'{near}");
            self.lowerer.findings.report(Rule::UndefinedVar, &word.span, &instruction.comments, message);
        }
    }

    /// Adds an entry to the history.
    pub(super) fn commit(&mut self, created_by: String, layer: Option<Edge>) {
        let created = self.globals.epoch.and_then(|epoch| jiff::Timestamp::from_second(epoch).ok()).map(|time| time.to_string());
        let entry = History {
            created,
            created_by: Some(created_by),
            author: None,
            comment: Some(HISTORY_COMMENT.into()),
            empty_layer: layer.is_none(),
        };
        self.history.push(HistoryStep { entry, layer });
    }

    pub(super) fn created(&self) -> rbuild_graph::Timestamp {
        self.globals.epoch.map_or(rbuild_graph::Timestamp::Now, rbuild_graph::Timestamp::Epoch)
    }

    /// Metadata of a step's vertex.
    pub(super) fn meta(&mut self, text: &str, instruction: &Instruction, ignores_cache: bool) -> VertexMeta {
        let lines = Some(self.lowerer.file.lines.lines(&instruction.span));
        VertexMeta { lines, ..self.counter.meta(text, self.ignore_cache && ignores_cache) }
    }
}

/// An image without layers is the empty file system (spec G-8).
fn is_empty(config: &rbuild_oci::ImageConfig) -> bool {
    config.rootfs.diff_ids.is_empty() && config.history.iter().all(|entry| entry.empty_layer)
}
