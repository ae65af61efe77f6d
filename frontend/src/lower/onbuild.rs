//! ONBUILD triggers: the base's deferred instructions go before the stage's own (spec G-17).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Lowerer;
use super::stages::{Base, Plan, Step};
use crate::instruction::Kind;
use crate::parse::parse_trigger;
use crate::source::Span;

impl<'a> Lowerer<'a> {
    /// Puts the triggers of known bases into the stages that are needed; true when that added something.
    pub(super) fn trigger(&mut self, plan: &mut Plan<'a>, reachable: &BTreeSet<usize>) -> bool {
        let mut added = false;
        for &index in reachable {
            if plan.stages[index].triggered {
                continue;
            }
            let Some(triggers) = self.triggers(plan, index) else { continue };
            plan.stages[index].triggered = true;
            if triggers.is_empty() {
                continue;
            }
            added = true;
            let span = plan.stages[index].instruction.span.clone();
            let mut steps = self.trigger_steps(plan, index, &triggers, &span);
            steps.append(&mut plan.stages[index].steps);
            plan.stages[index].steps = steps;
        }
        added
    }

    /// The triggers of a stage's base; `None` while it is not resolved.
    fn triggers(&self, plan: &Plan<'_>, index: usize) -> Option<Vec<String>> {
        match &plan.stages[index].base {
            Base::Scratch | Base::Local(_) => Some(Vec::new()),
            Base::Image(need) => Some(self.resolved.images.get(need)?.config.config.on_build.clone()),
            Base::Stage(base) => {
                let steps = plan.stages[*base].steps.iter();
                let texts =
                    steps.filter_map(|step| if let Kind::Onbuild(text) = &step.instruction.kind { Some(text) } else { None });
                Some(texts.map(|text| text.text.clone()).collect())
            }
        }
    }

    fn trigger_steps(&mut self, plan: &Plan<'a>, index: usize, triggers: &[String], span: &Span) -> Vec<Step<'a>> {
        let mut steps = Vec::with_capacity(triggers.len());
        for text in triggers {
            match parse_trigger(text, span) {
                Ok(instruction) => {
                    let origins = self.origins(plan, index, &instruction);
                    steps.push(Step { instruction: Cow::Owned(instruction), trigger: true, origins });
                }
                Err(diagnostics) => self.diagnostics.extend(diagnostics),
            }
        }
        steps
    }
}
