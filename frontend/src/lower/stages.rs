//! The table of stages: what each is based on, and where its steps copy from.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rbuild_oci::{Platform, Reference};

use super::Lowerer;
use super::globals::Globals;
use crate::diagnostic::Diagnostic;
use crate::expand::{Expanded, Lexer, Nothing};
use crate::instruction::{From, Instruction, Kind, Word};
use crate::lint::Rule;
use crate::options::{ImageNeed, ImageSpec, NamedContext};
use crate::source::Span;
use crate::suggest;

/// All stages, and how names are looked up.
pub(super) struct Plan<'a> {
    pub(super) stages: Vec<Stage<'a>>,
    /// The last stage with each name, so far.
    names: BTreeMap<String, usize>,
    contexts: Contexts,
}

/// One stage.
pub(super) struct Stage<'a> {
    /// The FROM line.
    pub(super) instruction: &'a Instruction,
    /// Lower case.
    pub(super) name: Option<String>,
    pub(super) base: Base,
    /// The base's name with variables expanded.
    pub(super) base_name: String,
    pub(super) platform: Platform,
    pub(super) steps: Vec<Step<'a>>,
    /// Whether the base's triggers have been put before the steps.
    pub(super) triggered: bool,
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// A local named context.
    Local(String),
    Image(ImageNeed),
}

/// An instruction of a stage.
pub(super) struct Step<'a> {
    pub(super) instruction: Cow<'a, Instruction>,
    /// Whether it is an ONBUILD trigger of the base.
    pub(super) trigger: bool,
    /// Where it reads from: one for a COPY or ADD, one for each mount of a RUN.
    pub(super) origins: Vec<Origin>,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Context,
    Scratch,
    Stage(usize),
    Local(String),
    Image(ImageNeed),
}

/// Named contexts by normalised name.
struct Contexts(BTreeMap<String, (String, NamedContext)>);

impl Contexts {
    fn new(given: &BTreeMap<String, NamedContext>) -> Contexts {
        let normal = |name: &str| match name.split_once("::") {
            Some((name, platform)) => format!("{}::{platform}", normal_name(name)),
            None => normal_name(name),
        };
        Contexts(given.iter().map(|(name, context)| (normal(name), (name.clone(), context.clone()))).collect())
    }

    /// `name::platform` goes before `name`. An image is taken for the platform of who asks.
    fn find(&self, name: &str, platform: &Platform) -> Option<Origin> {
        if self.0.is_empty() || name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
            return None;
        }
        let name = normal_name(name);
        let found = self.0.get(&format!("{name}::{platform}")).or_else(|| self.0.get(&name));
        found.map(|(written, context)| match context {
            NamedContext::Local => Origin::Local(written.clone()),
            NamedContext::Image(need) if need.reference == ImageSpec::Reference("scratch".into()) => Origin::Scratch,
            NamedContext::Image(need) => Origin::Image(ImageNeed { platform: platform.clone(), ..need.clone() }),
        })
    }
}

/// A context's name as docker compares it: the familiar form without `:latest`.
fn normal_name(name: &str) -> String {
    match Reference::parse(name) {
        Ok(reference) => {
            let familiar = reference.familiar();
            familiar.strip_suffix(":latest").map_or(familiar.clone(), str::to_owned)
        }
        Err(_) => name.to_lowercase(),
    }
}

impl<'a> Lowerer<'a> {
    /// Builds the table. Mistakes in any stage are reported, needed or not.
    pub(super) fn plan(&mut self, globals: &Globals) -> Option<Plan<'a>> {
        let mut plan = Plan { stages: Vec::new(), names: BTreeMap::new(), contexts: Contexts::new(&self.options.named_contexts) };
        let before = self.errors();
        for instruction in &self.file.instructions {
            match (&instruction.kind, plan.stages.last_mut()) {
                (Kind::From(from), _) => {
                    let stage = self.from(&plan, globals, instruction, from);
                    plan.names.extend(stage.name.clone().map(|name| (name, plan.stages.len())));
                    plan.stages.push(stage);
                }
                (Kind::Arg(_), None) => {}
                (_, None) => {
                    let wrong =
                        Diagnostic::error("no-stage", "no build stage in current context", instruction.keyword.span.clone());
                    self.diagnostics.push(wrong.hint("a Dockerfile begins with FROM; only ARG may stand before it"));
                }
                (_, Some(stage)) => {
                    let instruction = Cow::Borrowed(instruction);
                    stage.steps.push(Step { instruction, trigger: false, origins: Vec::new() });
                }
            }
        }
        if plan.stages.is_empty() && self.errors() == before {
            self.diagnostics.push(Diagnostic::whole("no-stage", "dockerfile contains no stages to build"));
        }
        self.warn_of_later_stages(&plan);
        self.replace_by_contexts(&mut plan);
        for index in 0..plan.stages.len() {
            let mut steps = std::mem::take(&mut plan.stages[index].steps);
            steps.iter_mut().for_each(|step| step.origins = self.origins(&plan, index, &step.instruction));
            plan.stages[index].steps = steps;
        }
        self.check_cycles(&plan);
        (self.errors() == before).then_some(plan)
    }

    pub(super) fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == crate::Severity::Error).count()
    }

    /// FROM looks back only: the name of a later stage means an image (spec G-7).
    fn warn_of_later_stages(&mut self, plan: &Plan<'_>) {
        for (index, stage) in plan.stages.iter().enumerate() {
            let is_image = matches!(stage.base, Base::Image(_));
            let later = plan.stage_named(&stage.base_name).is_some_and(|later| later > index);
            if is_image && later {
                let name = &stage.base_name;
                let message = format!("`{name}` is taken for an image: the stage of that name comes later");
                let span = stage.instruction.span.clone();
                self.diagnostics
                    .push(Diagnostic::warning("later-stage", message, span).hint("move that stage up to build from it"));
            }
        }
    }

    /// A named context with a stage's name stands for the stage.
    fn replace_by_contexts(&self, plan: &mut Plan<'_>) {
        let Plan { stages, contexts, .. } = plan;
        for stage in stages {
            let Some(origin) = stage.name.as_deref().and_then(|name| contexts.find(name, &stage.platform)) else { continue };
            stage.base = origin.into_base();
            stage.steps.clear();
            stage.triggered = true;
        }
    }

    fn from(&mut self, plan: &Plan<'a>, globals: &Globals, instruction: &'a Instruction, from: &From) -> Stage<'a> {
        let platform = self.stage_platform(globals, instruction, from);
        let name = from.name.as_ref().map(|name| name.text.clone());
        self.lint_stage_name(plan, instruction, from);
        let base_name = self.base_name(globals, instruction, from);
        let base = match &base_name {
            Some(name) => self.base(plan, name, &platform, &from.base.span),
            None => Base::Scratch,
        };
        let base_name = base_name.unwrap_or_default();
        Stage { instruction, name, base, base_name, platform, steps: Vec::new(), triggered: false }
    }

    fn lint_stage_name(&mut self, plan: &Plan<'_>, instruction: &Instruction, from: &From) {
        let Some(name) = &from.name else { return };
        if matches!(&*name.text, "context" | "scratch") {
            let message = format!("Stage name should not use the same name as reserved stage \"{}\"", name.text);
            self.findings.report(Rule::ReservedStageName, &name.span, &instruction.comments, message);
        }
        if plan.names.contains_key(&name.text) {
            let message = format!("Duplicate stage name \"{}\", stage names should be unique", name.text);
            self.findings.report(Rule::DuplicateStageName, &name.span, &instruction.comments, message);
        }
    }

    fn base_name(&mut self, globals: &Globals, instruction: &Instruction, from: &From) -> Option<String> {
        self.lint_default_base(globals, instruction, from);
        let expanded = self.expand_global(globals, &from.base, instruction)?;
        if !expanded.text.is_empty() {
            return Some(expanded.text);
        }
        let message = format!("base name ({}) should not be blank", from.base.text);
        let blank = Diagnostic::error("blank-base", message, from.base.span.clone());
        let hint = expanded.unset.iter().chain(&expanded.used).next().map(|name| self.argument_hint(globals, name));
        self.diagnostics.push(match hint {
            Some(hint) => blank.hint(hint),
            None => blank,
        });
        None
    }

    /// What is wrong with a variable that is empty in FROM.
    fn argument_hint(&self, globals: &Globals, name: &str) -> String {
        if globals.declared.iter().any(|declared| declared == name) {
            return format!("give {name} a default, or pass --build-arg {name}=…");
        }
        let in_stage = self.file.instructions.iter().any(|instruction| {
            matches!(&instruction.kind, Kind::Arg(arguments) if arguments.iter().any(|argument| argument.key.text == name))
        });
        match (in_stage, suggest::nearest(name, globals.declared.iter().map(String::as_str))) {
            (true, _) => format!("FROM sees only ARGs before the first FROM; move ARG {name} there"),
            (false, Some(near)) => format!("did you mean {near}?"),
            (false, None) => format!("declare it with ARG {name} before the first FROM"),
        }
    }

    fn expand_global(&mut self, globals: &Globals, word: &Word, instruction: &Instruction) -> Option<Expanded> {
        match Lexer::new(self.file.directives.escape).word(&word.text, &globals.values) {
            Ok(expanded) => {
                for name in expanded.unset.iter().filter(|name| !globals.declared.contains(name)) {
                    let names = globals.values.0.keys().chain(&globals.declared).map(String::as_str);
                    let near = suggest::nearest(name, names).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
                    let message = format!("FROM argument '{name}' is not declared{near}");
                    self.findings.report(Rule::UndefinedArgInFrom, &word.span, &instruction.comments, message);
                }
                Some(expanded)
            }
            Err(error) => {
                self.diagnostics.push(error.diagnostic(word));
                None
            }
        }
    }

    fn lint_default_base(&mut self, globals: &Globals, instruction: &Instruction, from: &From) {
        let lexer = Lexer::new(self.file.directives.escape);
        let Some(expanded) = globals.defaults.as_ref().and_then(|values| lexer.word(&from.base.text, values).ok()) else {
            return;
        };
        let is_constant = expanded.used.is_empty() && expanded.unset.is_empty();
        if !is_constant && Reference::parse(&expanded.text).is_err() {
            let message = format!("Default value for ARG {} results in empty or invalid base image name", from.base.text);
            self.findings.report(Rule::InvalidDefaultArgInFrom, &from.base.span, &instruction.comments, message);
        }
    }

    /// The platform of a stage: `--platform`, else the target's.
    fn stage_platform(&mut self, globals: &Globals, instruction: &Instruction, from: &From) -> Platform {
        let default = self.options.target_platform.clone();
        let Some(word) = &from.platform else { return default };
        let Some(expanded) = self.expand_global(globals, word, instruction) else { return default };
        let wrong = |message: String| Diagnostic::error("invalid-platform", message, word.span.clone());
        if expanded.text.is_empty() {
            let hint = expanded.unset.iter().chain(&expanded.used).next().map(|name| self.argument_hint(globals, name));
            let empty = wrong(format!("empty platform value from expression {}", word.text));
            self.diagnostics.push(hint.map_or(empty.clone(), |hint| empty.hint(hint)));
            return default;
        }
        match expanded.text.parse::<Platform>() {
            Ok(platform) => {
                self.lint_platform(globals, instruction, from, word, &expanded, &platform);
                platform
            }
            Err(error) => {
                self.diagnostics.push(wrong(format!("failed to parse platform {}: {error}", word.text)));
                default
            }
        }
    }

    fn lint_platform(
        &mut self,
        globals: &Globals,
        instruction: &Instruction,
        from: &From,
        word: &Word,
        expanded: &Expanded,
        platform: &Platform,
    ) {
        let name = from.name.as_ref().map_or("", |name| name.text.as_str());
        let only_target = expanded.unset.is_empty() && expanded.used.iter().eq(["TARGETPLATFORM"]);
        if only_target && globals.values.0.get("TARGETPLATFORM") == Some(&expanded.text) {
            let message =
                format!("Setting platform to predefined {} in FROM is redundant as this is the default behavior", word.text);
            self.findings.report(Rule::RedundantTargetPlatform, &word.span, &instruction.comments, message);
        }
        let constant = expanded.used.is_empty() && expanded.unset.is_empty();
        if constant && !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!("FROM --platform flag should not use constant value \"{}\"", expanded.text);
            self.findings.report(Rule::FromPlatformFlagConstDisallowed, &word.span, &instruction.comments, message);
        }
    }

    /// A named context, an earlier stage, nothing, or an image (spec G-6).
    fn base(&mut self, plan: &Plan<'_>, name: &str, platform: &Platform, span: &Span) -> Base {
        if let Some(origin) = plan.contexts.find(name, platform) {
            return origin.into_base();
        }
        if let Some(stage) = plan.stage_named(name) {
            return Base::Stage(stage);
        }
        if name == "scratch" {
            return Base::Scratch;
        }
        self.image(name, platform, span).map_or(Base::Scratch, Base::Image)
    }

    /// An image by reference.
    fn image(&mut self, name: &str, platform: &Platform, span: &Span) -> Option<ImageNeed> {
        if let Err(error) = Reference::parse(name) {
            let message = format!("failed to parse stage name \"{name}\": invalid reference format: {}", error.reason);
            self.diagnostics.push(Diagnostic::error("invalid-reference", message, span.clone()));
            return None;
        }
        Some(ImageNeed { reference: ImageSpec::Reference(name.to_owned()), platform: platform.clone() })
    }

    /// Where an instruction reads from.
    pub(super) fn origins(&mut self, plan: &Plan<'_>, index: usize, instruction: &Instruction) -> Vec<Origin> {
        if let Kind::Run(run) = &instruction.kind {
            return run.mounts.iter().map(|mount| self.mount_from(plan, index, mount)).collect();
        }
        let from = if let Kind::Copy(copy) = &instruction.kind { copy.from.as_ref() } else { None };
        vec![from.and_then(|from| self.copy_from(plan, index, from)).unwrap_or(Origin::Context)]
    }

    fn copy_from(&mut self, plan: &Plan<'_>, index: usize, from: &Word) -> Option<Origin> {
        let expanded = Lexer::new(self.file.directives.escape).word(&from.text, &Nothing);
        if !expanded.is_ok_and(|expanded| expanded.text == from.text) {
            let message = "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround";
            self.diagnostics.push(Diagnostic::error("variable-in-from", message, from.span.clone()));
            return None;
        }
        if let Ok(number) = from.text.parse::<i64>() {
            let found = usize::try_from(number).ok().filter(|number| *number < plan.stages.len());
            if found.is_none() {
                let count = plan.stages.len();
                let wrong = Diagnostic::error("unknown-stage", format!("invalid stage index {number}"), from.span.clone());
                self.diagnostics.push(wrong.hint(format!("there are {count} stages, counted from 0")));
            }
            return found.map(Origin::Stage);
        }
        self.named_origin(plan, index, from, &from.text)
    }

    /// A stage of the whole file (a later one is refused when it is used), a context, or an image.
    pub(super) fn named_origin(&mut self, plan: &Plan<'_>, index: usize, from: &Word, name: &str) -> Option<Origin> {
        let platform = &self.options.target_platform;
        if let Some(origin) = plan.contexts.find(name, platform) {
            return Some(origin);
        }
        if let Some(stage) = plan.stage_named(name) {
            return Some(Origin::Stage(stage));
        }
        if name == "scratch" {
            return Some(Origin::Scratch);
        }
        let earlier = plan.stages[..index].iter().filter_map(|stage| stage.name.as_deref());
        if let Some(near) = suggest::nearest_likely(name, earlier) {
            let message = format!("no stage is named `{name}`: it is taken for an image");
            let warning = Diagnostic::warning("unknown-stage", message, from.span.clone());
            self.diagnostics.push(warning.did_you_mean(Some(near)));
        }
        self.image(name, &platform.clone(), &from.span).map(Origin::Image)
    }
}

impl Plan<'_> {
    /// The last stage with this name, so far.
    fn stage_named(&self, name: &str) -> Option<usize> {
        self.names.get(&name.to_lowercase()).copied()
    }

    /// What is shown for a stage: its name or number; nothing when it is alone.
    pub(super) fn title(&self, index: usize) -> String {
        let stage = &self.stages[index];
        let images = || self.stages.iter().flat_map(|stage| &stage.steps).flat_map(|step| &step.origins).any(Origin::is_image);
        if self.stages.len() == 1 && !images() {
            return String::new();
        }
        stage.name.clone().unwrap_or_else(|| format!("stage-{index}"))
    }
}

impl Origin {
    fn is_image(&self) -> bool {
        matches!(self, Origin::Image(_))
    }

    fn into_base(self) -> Base {
        match self {
            Origin::Context | Origin::Scratch => Base::Scratch,
            Origin::Stage(stage) => Base::Stage(stage),
            Origin::Local(name) => Base::Local(name),
            Origin::Image(need) => Base::Image(need),
        }
    }
}
