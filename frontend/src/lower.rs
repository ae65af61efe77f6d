//! Instructions to a graph: which stages are needed, and what each of their lines adds.

mod casing;
mod copy;
mod copy_source;
mod expose;
mod globals;
mod metadata;
mod mount;
mod mount_spec;
mod names;
mod onbuild;
mod resolve;
mod run;
mod signal;
mod stage;
mod stages;
mod state;

use std::collections::BTreeSet;

use rbuild_graph::{Graph, Vertex, VertexMeta};

use crate::diagnostic::{Diagnostic, Severity};
use crate::instruction::Kind;
use crate::lint::{Check, Findings};
use crate::options::{HistoryStep, Lowered, Lowering, Options, Resolved};
use crate::parse::{Dockerfile, foreign_frontend};
use crate::suggest;

use globals::Globals;
use stage::Finished;
use stages::{Plan, Stage};

/// The newest `docker/dockerfile` whose language this is.
const SYNTAX_VERSION: (u32, u32) = (1, 26);

/// Lowers the target stage and what it needs.
///
/// # Errors
/// All mistakes that can be found in one go; at least one of them is an error.
pub fn lower(file: &Dockerfile, options: &Options, resolved: &Resolved) -> Result<Lowering, Vec<Diagnostic>> {
    let mut lowerer = Lowerer::new(file, options, resolved);
    let result = lowerer.run();
    let mut diagnostics = lowerer.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.start));
    diagnostics.dedup();
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    match result {
        Some(lowering) if !failed => Ok(lowering),
        Some(_) | None => Err(diagnostics),
    }
}

/// One call of [`lower`].
struct Lowerer<'a> {
    file: &'a Dockerfile,
    options: &'a Options,
    resolved: &'a Resolved,
    graph: Graph,
    diagnostics: Vec<Diagnostic>,
    findings: Findings,
}

impl<'a> Lowerer<'a> {
    fn new(file: &'a Dockerfile, options: &'a Options, resolved: &'a Resolved) -> Lowerer<'a> {
        let (diagnostics, findings) = (Vec::new(), file.findings.clone());
        Lowerer { file, options, resolved, graph: Graph::new(), diagnostics, findings }
    }

    fn run(&mut self) -> Option<Lowering> {
        self.check_syntax();
        let check = self.check_options()?;
        let globals = self.globals()?;
        let mut plan = self.plan(&globals)?;
        let target = self.target(&plan.stages)?;
        let reachable = match self.resolve(&mut plan, target)? {
            resolve::Resolution::Needs(needs) => return Some(Lowering::Needs(needs)),
            resolve::Resolution::Reachable(reachable) => reachable,
        };
        let finished = self.stages(&plan, &globals, &reachable);
        self.unconsumed_build_args(&plan.stages);
        self.casing();
        let warnings = self.warnings(&check);
        let base_steps = chain(&plan.stages, &finished, target);
        let Finished { state, .. } = finished.into_iter().nth(target).flatten()?;
        let history = base_steps;
        let epoch = globals.epoch;
        let mut config = state.config;
        config.config.labels.extend(self.options.labels.clone());
        config.platform = Some(self.result_platform(config.platform.take()));
        let graph = std::mem::take(&mut self.graph);
        let base = state.base.map(|base| (*base).clone());
        Some(Lowering::Done(Box::new(Lowered { graph, result: state.edge, config, history, base, warnings, epoch })))
    }

    /// A frontend given by directive or build-arg must be this one.
    fn check_syntax(&mut self) {
        let directive = self.file.directives.syntax.as_ref().map(|word| (word.text.as_str(), Some(word.span.clone())));
        let given = self.options.build_args.get("BUILDKIT_SYNTAX").map(|value| (value.as_str(), None));
        let Some((value, span)) = given.or(directive) else { return };
        self.diagnostics.extend(foreign_frontend(value, span.clone()));
        let version = value.split(' ').next().and_then(|reference| reference.split_once(':')).and_then(|(_, tag)| version(tag));
        if version.is_some_and(|version| version > SYNTAX_VERSION) {
            let (major, minor) = SYNTAX_VERSION;
            let message = format!("the syntax `{value}` is newer than {major}.{minor}, which is built in");
            let newer = Diagnostic::whole("newer-syntax", message);
            self.diagnostics.push(Diagnostic { severity: Severity::Warning, span, ..newer });
        }
    }

    fn check_options(&mut self) -> Option<Check> {
        let given = self.options.build_args.get("BUILDKIT_DOCKERFILE_CHECK").map(|value| (value.as_str(), None));
        let directive = self.file.directives.check.as_ref().map(|word| (word.text.as_str(), Some(word.span.clone())));
        let Some((text, span)) = given.or(directive) else { return Some(Check::default()) };
        match Check::read(text) {
            Ok(check) => Some(check),
            Err(reason) => {
                let message = format!("failed to parse check options: {reason}");
                self.diagnostics.push(Diagnostic { span, ..Diagnostic::whole("check-options", message) });
                None
            }
        }
    }

    /// The index of the stage to build.
    fn target(&mut self, stages: &[Stage<'_>]) -> Option<usize> {
        let Some(name) = &self.options.target else { return stages.len().checked_sub(1) };
        let found = stages.iter().rposition(|stage| stage.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        if found.is_none() {
            let message = format!("target stage \"{name}\" could not be found");
            let names: BTreeSet<&str> = stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
            let missing = Diagnostic::whole("unknown-target", message);
            let suggestion = suggest::nearest(name, names.iter().copied());
            self.diagnostics.push(match suggestion {
                Some(_) => missing.did_you_mean(suggestion),
                None if names.is_empty() => missing.hint("no stage has a name; name one with FROM … AS name"),
                None => missing.hint(format!("there are: {}", names.into_iter().collect::<Vec<_>>().join(", "))),
            });
        }
        found
    }

    fn stages(&mut self, plan: &Plan<'a>, globals: &Globals, reachable: &BTreeSet<usize>) -> Vec<Option<Finished>> {
        let mut finished: Vec<Option<Finished>> = Vec::with_capacity(plan.stages.len());
        for index in 0..plan.stages.len() {
            let done = if reachable.contains(&index) { self.stage(plan, globals, &finished, index) } else { None };
            finished.push(done);
        }
        finished
    }

    /// Build arguments that no ARG of the file takes are a likely mistake.
    fn unconsumed_build_args(&mut self, stages: &[Stage<'_>]) {
        let triggers = stages.iter().flat_map(|stage| &stage.steps).map(|step| step.instruction.as_ref());
        let mut declared: BTreeSet<&str> = BTreeSet::new();
        let mut all: Vec<_> = self.file.instructions.iter().collect();
        all.extend(triggers);
        for instruction in all {
            if let Kind::Arg(arguments) = &instruction.kind {
                declared.extend(arguments.iter().map(|argument| argument.key.text.as_str()));
            }
        }
        let unused: Vec<&str> = self.options.build_args.keys().map(String::as_str).collect();
        let unused: Vec<&str> =
            unused.into_iter().filter(|name| !declared.contains(name) && !globals::is_predefined(name)).collect();
        let Some(first) = unused.first() else { return };
        let message = format!("One or more build-args [{}] were not consumed", unused.join(" "));
        let suggestion = suggest::nearest(first, declared.iter().copied());
        let warning = Diagnostic { severity: Severity::Warning, ..Diagnostic::whole("unused-build-arg", message) };
        self.diagnostics.push(warning.did_you_mean(suggestion));
    }

    /// The wanted findings and the warnings; a failure when the file asks for one.
    fn warnings(&mut self, check: &Check) -> Vec<Diagnostic> {
        let wanted = std::mem::take(&mut self.findings).wanted(check);
        if check.error && !wanted.is_empty() {
            let rules: BTreeSet<&str> = wanted.iter().map(|finding| finding.code).collect();
            let message = format!("lint violation found for rules: {}", rules.into_iter().collect::<Vec<_>>().join(", "));
            self.diagnostics.push(Diagnostic::whole("lint", message));
            self.diagnostics.extend(wanted);
            return Vec::new();
        }
        let mut warnings = self.diagnostics.clone();
        warnings.retain(|diagnostic| diagnostic.severity == Severity::Warning);
        warnings.extend(wanted);
        warnings.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.start));
        warnings
    }

    /// Of the base image, unless the platform was asked for (spec G-27).
    fn result_platform(&self, base: Option<rbuild_oci::Platform>) -> rbuild_oci::Platform {
        let target = &self.options.target_platform;
        let Some(mut platform) = base.filter(|platform| !platform.os.is_empty() && !platform.architecture.is_empty()) else {
            return target.normalised();
        };
        if self.options.platform_given {
            let same = platform.os == target.os && platform.architecture == target.architecture;
            let variant = if same { target.variant.clone().or(platform.variant) } else { target.variant.clone() };
            let os_version = if same { target.os_version.clone().or(platform.os_version) } else { target.os_version.clone() };
            let os_features = if target.os_features.is_empty() { platform.os_features } else { target.os_features.clone() };
            let (os, architecture) = (target.os.clone(), target.architecture.clone());
            platform = rbuild_oci::Platform { architecture, os, os_version, os_features, variant };
        }
        platform.normalised()
    }

    fn add(&mut self, vertex: Vertex, meta: VertexMeta) -> rbuild_graph::Edge {
        let digest = self.graph.add(vertex, meta).expect("inputs come first and indexes are made with them");
        rbuild_graph::Edge::first(digest)
    }
}

/// The history of a stage: the base image's, then that of each stage it goes back to.
fn chain(stages: &[Stage<'_>], finished: &[Option<Finished>], target: usize) -> Vec<HistoryStep> {
    let mut order = vec![target];
    let mut at = target;
    while let stages::Base::Stage(base) = stages[at].base {
        order.push(base);
        at = base;
    }
    order.reverse();
    order.into_iter().filter_map(|index| finished[index].as_ref()).flat_map(|stage| stage.history.iter().cloned()).collect()
}

/// `1.7`, `1.7-labs`, `1.7.3`.
fn version(tag: &str) -> Option<(u32, u32)> {
    let mut parts = tag.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
