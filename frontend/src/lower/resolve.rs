//! Which stages are needed, which images they need, and that none waits for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Lowerer;
use super::stages::{Base, Origin, Plan, Stage};
use crate::diagnostic::Diagnostic;
use crate::instruction::Kind;
use crate::options::ImageNeed;
use crate::source::Span;

/// Where resolving came to.
pub(super) enum Resolution {
    /// Images are missing.
    Needs(BTreeMap<ImageNeed, Span>),
    /// The stages that the target needs, itself included.
    Reachable(BTreeSet<usize>),
}

impl<'a> Lowerer<'a> {
    /// Follows what the target needs; triggers of resolved bases may add to it.
    pub(super) fn resolve(&mut self, plan: &mut Plan<'a>, target: usize) -> Option<Resolution> {
        loop {
            let reachable = reachable(&plan.stages, target);
            let needs = self.missing(plan, &reachable);
            let before = self.errors();
            let triggered = self.trigger(plan, &reachable);
            if self.errors() > before {
                return None;
            }
            if triggered {
                self.check_cycles(plan);
                if self.errors() > before {
                    return None;
                }
                continue;
            }
            return Some(if needs.is_empty() { Resolution::Reachable(reachable) } else { Resolution::Needs(needs) });
        }
    }

    /// Each with the first place that asks for it.
    fn missing(&self, plan: &Plan<'_>, reachable: &BTreeSet<usize>) -> BTreeMap<ImageNeed, Span> {
        let stages = reachable.iter().map(|index| &plan.stages[*index]);
        let mut missing = BTreeMap::new();
        for (need, span) in stages.flat_map(images).filter(|(need, _)| !self.resolved.images.contains_key(*need)) {
            missing.entry(need.clone()).or_insert(span);
        }
        missing
    }

    /// Reports stages that wait for themselves.
    pub(super) fn check_cycles(&mut self, plan: &Plan<'_>) {
        let mut marks = vec![Mark::New; plan.stages.len()];
        for start in 0..plan.stages.len() {
            if marks[start] != Mark::New {
                continue;
            }
            if let Some((at, span)) = find_cycle(&plan.stages, start, &mut marks) {
                let name = plan.stages[at].name.clone().unwrap_or_else(|| format!("stage-{at}"));
                let message = format!("circular dependency detected on stage: {name}");
                let hint = "a stage can use only what was built before it";
                self.diagnostics.push(Diagnostic::error("circular-dependency", message, span).hint(hint));
            }
        }
    }
}

/// The images that a stage starts from or reads, with the places that say so.
fn images<'s>(stage: &'s Stage<'_>) -> impl Iterator<Item = (&'s ImageNeed, Span)> {
    let base = if let Base::Image(need) = &stage.base { Some((need, base_place(stage))) } else { None };
    let origins = stage.steps.iter().flat_map(|step| step.origins.iter().map(move |origin| (origin, step)));
    base.into_iter().chain(
        origins.filter_map(|(origin, step)| if let Origin::Image(need) = origin { Some((need, place(step))) } else { None }),
    )
}

/// The name in a FROM.
fn base_place(stage: &Stage<'_>) -> Span {
    if let Kind::From(from) = &stage.instruction.kind { from.base.span.clone() } else { stage.instruction.span.clone() }
}

/// The stages that a stage needs, with the place that says so.
fn dependencies(stage: &Stage<'_>) -> Vec<(usize, Span)> {
    let base = if let Base::Stage(base) = stage.base { Some((base, stage.instruction.span.clone())) } else { None };
    let mut found: Vec<(usize, Span)> = base.into_iter().collect();
    for step in &stage.steps {
        for origin in &step.origins {
            if let Origin::Stage(stage) = origin {
                found.push((*stage, place(step)));
            }
        }
    }
    found
}

/// The `--from` of a step.
fn place(step: &super::stages::Step<'_>) -> Span {
    let from = if let Kind::Copy(copy) = &step.instruction.kind { copy.from.as_ref() } else { None };
    from.map_or(step.instruction.keyword.span.clone(), |from| from.span.clone())
}

fn reachable(stages: &[Stage<'_>], target: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([target]);
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        for (stage, _) in dependencies(&stages[index]) {
            if found.insert(stage) {
                open.push(stage);
            }
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

/// A depth-first search without recursion: files have thousands of stages.
fn find_cycle(stages: &[Stage<'_>], start: usize, marks: &mut [Mark]) -> Option<(usize, Span)> {
    let mut path = vec![(start, dependencies(&stages[start]).into_iter())];
    marks[start] = Mark::OnPath;
    let mut found = None;
    while let Some((index, rest)) = path.last_mut() {
        let Some((next, span)) = rest.next() else {
            marks[*index] = Mark::Done;
            path.pop();
            continue;
        };
        match marks[next] {
            Mark::OnPath => found = found.or(Some((next, span))),
            Mark::Done => {}
            Mark::New => {
                marks[next] = Mark::OnPath;
                path.push((next, dependencies(&stages[next]).into_iter()));
            }
        }
    }
    found
}
