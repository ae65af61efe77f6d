//! The state machine of a solve: takes reports, gives actions, does nothing itself. `decide` has the rules, `settle` the end of
//! vertices.
//!
//! ```text
//! Mapping → Keying → LookingUp ⇄ Missed → Gathering → Locking → Rechecking → Executing → Done
//!                        └→ Hit → Loading → Done       (a result that is gone)  ↑ Gathering
//! ```
//! Keys go up from the sources as soon as they are known, demand goes down from the targets; nothing is loaded or executed that a
//! key above can do without. Each vertex is looked at again only when something that it depends on has changed.

use std::collections::{HashMap, VecDeque};

use rbuild_graph::{Edge, Graph, GraphError, VertexDigest};

use crate::action::{Action, Found, Query};
use crate::node::{Content, Demand, Input, Node, Progress, Save, Stage};
use crate::{CacheMap, ContentKey, RecordId, ResultId, StepStatus};

/// All vertices that the targets need, in topological order.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) nodes: Vec<Node>,
    pub(crate) targets: Vec<(usize, usize)>,
    pub(crate) actions: Vec<Action>,
    pub(crate) queries: Vec<Query>,
    pub(crate) stopping: bool,
    dirty: VecDeque<usize>,
    is_dirty: Vec<bool>,
    /// Vertices whose outputs are being saved.
    saving: usize,
}

/// What an execution made, as far as keys are concerned.
#[derive(Debug)]
pub(crate) struct Executed {
    /// Names of the outputs; `None` is not saved.
    pub(crate) results: Vec<Option<ResultId>>,
    pub(crate) created: i64,
}

impl Machine {
    /// The machine for `targets`, and the digests of its vertices.
    pub(crate) fn new(graph: &Graph, targets: &[Edge]) -> Result<(Machine, Vec<VertexDigest>), GraphError> {
        let digests = graph.reachable(targets)?;
        let positions: HashMap<VertexDigest, usize> = digests.iter().enumerate().map(|(at, digest)| (*digest, at)).collect();
        let position = |edge: &Edge| (positions[&edge.vertex], edge.output.0 as usize);
        let node = |digest| {
            let vertex = graph.vertex(digest).expect("reachable lists vertices of the graph");
            let meta = graph.meta(digest).expect("every vertex has metadata");
            let inputs = vertex.inputs.iter().map(&position).map(|(vertex, output)| Input::new(vertex, output)).collect();
            Node::new(vertex, inputs, meta.ignore_cache)
        };
        let mut machine = Machine {
            nodes: digests.iter().map(node).collect(),
            targets: targets.iter().map(position).collect(),
            actions: Vec::new(),
            queries: Vec::new(),
            stopping: false,
            dirty: VecDeque::new(),
            is_dirty: vec![false; digests.len()],
            saving: 0,
        };
        machine.connect();
        Ok((machine, digests))
    }

    /// Tells each vertex who reads it, asks for all cache maps and for the targets' results.
    fn connect(&mut self) {
        for user in 0..self.nodes.len() {
            for input in 0..self.nodes[user].inputs.len() {
                let Input { vertex, output, .. } = self.nodes[user].inputs[input];
                self.nodes[vertex].outputs[output].needed = true;
                if self.nodes[vertex].users.last() != Some(&user) {
                    self.nodes[vertex].users.push(user);
                    self.nodes[vertex].open_users += 1;
                }
            }
            self.actions.push(Action::Map(user));
        }
        for (vertex, output) in self.targets.clone() {
            self.nodes[vertex].outputs[output].needed = true;
            self.nodes[vertex].open_users += 1;
            self.want(vertex, output);
        }
    }

    /// What is to be done now.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// What is to be looked up now, best all at once.
    pub(crate) fn take_queries(&mut self) -> Vec<Query> {
        std::mem::take(&mut self.queries)
    }

    /// Whether the targets are at hand and all is saved.
    pub(crate) fn is_finished(&self) -> bool {
        self.saving == 0 && self.targets.iter().all(|&(vertex, output)| self.nodes[vertex].outputs[output].available)
    }

    pub(crate) fn on_mapped(&mut self, vertex: usize, map: CacheMap) {
        let node = &mut self.nodes[vertex];
        let executes = map.content_only || node.ignore_cache;
        node.map = Some(map);
        node.stage = if executes { Stage::Gathering } else { Stage::Keying };
        if executes {
            node.demand = Demand::Result;
        }
        self.touch(vertex);
        self.touch_users(vertex);
        self.run();
    }

    /// `key` is `None` when it could not be computed.
    pub(crate) fn on_content(&mut self, vertex: usize, input: usize, key: Option<ContentKey>) {
        self.nodes[vertex].inputs[input].content = key.map_or(Content::Unavailable, Content::Known);
        if self.nodes[vertex].save == Save::Waiting {
            self.save_when_keyed(vertex);
        }
        self.touch(vertex);
        self.run();
    }

    /// Whether a failed content key of this vertex is its failure: not when it only completes a record.
    pub(crate) fn needs_content(&self, vertex: usize, input: usize) -> bool {
        if self.nodes[self.nodes[vertex].inputs[input].vertex].is_content_only() {
            return true;
        }
        match self.nodes[vertex].stage {
            Stage::Keying | Stage::LookingUp | Stage::Missed { .. } => true,
            Stage::Mapping
            | Stage::Hit
            | Stage::Loading
            | Stage::Gathering
            | Stage::Locking
            | Stage::Rechecking
            | Stage::Executing
            | Stage::Done => false,
        }
    }

    pub(crate) fn on_found(&mut self, vertex: usize, found: Found) {
        self.take_found(vertex, found);
        self.run();
    }

    pub(crate) fn on_loaded(&mut self, vertex: usize, output: usize, loaded: bool) {
        if loaded {
            self.take_loaded(vertex, output)
        } else {
            self.lose_result(vertex, output)
        }
        self.run();
    }

    pub(crate) fn on_locked(&mut self, vertex: usize) {
        self.nodes[vertex].locked = true;
        if self.nodes[vertex].ignore_cache {
            self.execute(vertex);
        } else {
            self.recheck(vertex);
        }
        self.run();
    }

    pub(crate) fn on_executed(&mut self, vertex: usize, executed: &Executed) {
        for output in &mut self.nodes[vertex].outputs {
            output.available = true;
        }
        self.name_results(vertex, executed);
        self.nodes[vertex].stage = Stage::Done;
        self.emit(vertex, StepStatus::Completed);
        self.touch_users(vertex);
        self.settle(vertex);
        self.begin_save(vertex, executed);
        self.run();
    }

    pub(crate) fn on_saved(&mut self, vertex: usize) {
        self.nodes[vertex].save = Save::Idle;
        self.saving -= 1;
        self.unlock(vertex);
    }

    /// No more work is begun; what runs is expected to end.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.queries.clear();
        self.actions.retain(|action| match action {
            Action::Link(..) | Action::Forget(..) | Action::Unlock(_) | Action::Save { .. } | Action::Emit { .. } => true,
            Action::Map(_) | Action::Content { .. } | Action::Load { .. } | Action::Lock { .. } | Action::Execute(_) => false,
        });
        for vertex in 0..self.nodes.len() {
            for input in &mut self.nodes[vertex].inputs {
                if input.is_content_pending() {
                    input.content = Content::Unavailable;
                }
            }
            if self.nodes[vertex].save == Save::Waiting {
                self.save_when_keyed(vertex);
            }
        }
    }

    /// Begins to save an executed vertex, once the content keys that belong to its record are known.
    fn begin_save(&mut self, vertex: usize, executed: &Executed) {
        let node = &self.nodes[vertex];
        if node.is_content_only() || executed.results.iter().all(Option::is_none) {
            return self.unlock(vertex);
        }
        self.saving += 1;
        self.nodes[vertex].save = Save::Waiting;
        for input in 0..self.nodes[vertex].inputs.len() {
            if self.nodes[vertex].by_content(input) {
                self.ask_content(vertex, input);
            }
        }
        self.save_when_keyed(vertex);
    }

    fn save_when_keyed(&mut self, vertex: usize) {
        let node = &self.nodes[vertex];
        if node.inputs.iter().any(|input| input.content == Content::Asked) {
            return;
        }
        let outputs = self.new_records(vertex);
        self.nodes[vertex].save = Save::Writing;
        self.actions.push(Action::Save { vertex, outputs });
    }

    pub(crate) fn ask_content(&mut self, vertex: usize, input: usize) {
        let asked = &mut self.nodes[vertex].inputs[input].content;
        if *asked != Content::Unknown {
            return;
        }
        if self.stopping {
            *asked = Content::Unavailable;
        } else {
            *asked = Content::Asked;
            self.actions.push(Action::Content { vertex, input });
        }
    }

    pub(crate) fn unlock(&mut self, vertex: usize) {
        if std::mem::take(&mut self.nodes[vertex].locked) {
            self.actions.push(Action::Unlock(vertex));
        }
    }

    /// Asks for an output's result.
    pub(crate) fn want(&mut self, vertex: usize, output: usize) {
        let node = &mut self.nodes[vertex];
        if !node.outputs[output].wanted {
            node.outputs[output].wanted = true;
            node.demand = Demand::Result;
            self.touch(vertex);
        }
    }

    /// Asks for a vertex' best key.
    pub(crate) fn want_key(&mut self, vertex: usize) {
        if self.nodes[vertex].demand == Demand::Definition {
            self.nodes[vertex].demand = Demand::Key;
            self.touch(vertex);
        }
    }

    pub(crate) fn set_records(&mut self, vertex: usize, output: usize, records: Vec<RecordId>) {
        let node = &mut self.nodes[vertex];
        if node.outputs[output].records != records {
            node.outputs[output].records = records;
            node.key_version += 1;
        }
    }

    pub(crate) fn emit(&mut self, vertex: usize, status: StepStatus) {
        let node = &mut self.nodes[vertex];
        let next = match status {
            StepStatus::Started => Progress::Started,
            StepStatus::Cached | StepStatus::Completed | StepStatus::Cancelled | StepStatus::Failed(_) => Progress::Ended,
        };
        if node.progress == Progress::Ended || node.progress == next {
            return;
        }
        node.progress = next;
        self.actions.push(Action::Emit { vertex, status });
    }

    /// Has a vertex looked at again.
    pub(crate) fn touch(&mut self, vertex: usize) {
        if !std::mem::replace(&mut self.is_dirty[vertex], true) {
            self.dirty.push_back(vertex);
        }
    }

    pub(crate) fn touch_users(&mut self, vertex: usize) {
        for at in 0..self.nodes[vertex].users.len() {
            self.touch(self.nodes[vertex].users[at]);
        }
    }

    fn run(&mut self) {
        while let Some(vertex) = self.dirty.pop_front() {
            self.is_dirty[vertex] = false;
            if !self.stopping {
                self.step(vertex);
            }
        }
    }
}

#[cfg(test)]
mod tests;
