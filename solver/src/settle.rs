//! How vertices end: loaded, executed, or never needed; and what is told of it.

use crate::StepStatus;
use crate::action::Action;
use crate::machine::Machine;
use crate::node::{Progress, Stage};

impl Machine {
    /// Loads what is wanted and known to be saved.
    pub(crate) fn load(&mut self, vertex: usize) {
        for output in 0..self.nodes[vertex].outputs.len() {
            let state = &self.nodes[vertex].outputs[output];
            if !state.wanted || state.available {
                continue;
            }
            let Some(result) = state.results.last().cloned() else { return self.give_up_loading(vertex) };
            self.nodes[vertex].stage = Stage::Loading;
            self.actions.push(Action::Load { vertex, output, result });
        }
    }

    pub(crate) fn take_loaded(&mut self, vertex: usize, output: usize) {
        if self.nodes[vertex].stage != Stage::Loading {
            return;
        }
        self.nodes[vertex].outputs[output].available = true;
        self.touch_users(vertex);
        if self.nodes[vertex].wanted_are_available() {
            self.nodes[vertex].stage = Stage::Done;
            self.unlock(vertex);
            self.settle(vertex);
        }
    }

    /// A saved result is gone: the next one is tried, and after the last the vertex is executed.
    pub(crate) fn lose_result(&mut self, vertex: usize, output: usize) {
        let state = &mut self.nodes[vertex].outputs[output];
        let (record, lost) = (state.records.first().copied(), state.results.pop());
        if let (Some(record), Some(lost)) = (record, lost) {
            state.lost.push(lost.clone());
            self.actions.push(Action::Forget(record, lost));
        }
        if self.nodes[vertex].stage != Stage::Loading || self.stopping {
            return;
        }
        match self.nodes[vertex].outputs[output].results.last().cloned() {
            Some(result) => self.actions.push(Action::Load { vertex, output, result }),
            None => self.give_up_loading(vertex),
        }
    }

    fn give_up_loading(&mut self, vertex: usize) {
        if self.nodes[vertex].locked {
            self.execute(vertex);
        } else {
            self.nodes[vertex].stage = Stage::Gathering;
            self.touch(vertex);
        }
    }

    /// A vertex that nobody will ask anything more of. What only it could have needed ends with it, and came from the cache.
    pub(crate) fn settle(&mut self, vertex: usize) {
        let mut settled = vec![vertex];
        let mut next = 0;
        while let Some(&user) = settled.get(next) {
            next += 1;
            for source in self.sources(user) {
                self.nodes[source].open_users -= 1;
                if self.nodes[source].open_users == 0 && self.is_idle(source) {
                    settled.push(source);
                }
            }
        }
        settled.sort_unstable();
        for vertex in settled {
            self.emit(vertex, StepStatus::Cached);
        }
    }

    /// The vertices that it reads, each once; none when they were given up already.
    fn sources(&mut self, user: usize) -> Vec<usize> {
        if std::mem::replace(&mut self.nodes[user].released, true) {
            return Vec::new();
        }
        let mut sources: Vec<usize> = self.nodes[user].inputs.iter().map(|input| input.vertex).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// Whether it neither has nor is about to get a result.
    fn is_idle(&self, vertex: usize) -> bool {
        match self.nodes[vertex].stage {
            Stage::Mapping | Stage::Keying | Stage::LookingUp | Stage::Missed { .. } | Stage::Hit => true,
            Stage::Loading | Stage::Gathering | Stage::Locking | Stage::Rechecking | Stage::Executing | Stage::Done => false,
        }
    }

    /// At the end of a solve: a terminal event for each vertex that has none. In a failed one, what never began has no events.
    pub(crate) fn finish(&mut self, succeeded: bool) {
        for vertex in 0..self.nodes.len() {
            match self.nodes[vertex].progress {
                Progress::Started => self.emit(vertex, StepStatus::Cancelled),
                Progress::Silent if succeeded => self.emit(vertex, StepStatus::Cached),
                Progress::Silent | Progress::Ended => {}
            }
        }
    }
}
