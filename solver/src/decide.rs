//! The rules: what a vertex does next, given what is known of it and of its inputs.

use crate::action::{Action, Found, FoundOutput, NewRecord, Query, QueryKeys};
use crate::algebra::{content_record, definition_key, definition_record, lock_name, renewed_record, root_record};
use crate::lookup::links;
use crate::machine::{Executed, Machine};
use crate::node::{Content, Demand, Stage};
use crate::{Parent, RecordId, StepStatus};

impl Machine {
    /// Looks at a vertex of which something may have changed.
    pub(crate) fn step(&mut self, vertex: usize) {
        match self.nodes[vertex].stage {
            Stage::Keying => self.key(vertex),
            Stage::Missed { .. } => self.improve(vertex),
            Stage::Hit | Stage::Done if self.nodes[vertex].demand == Demand::Result => self.load(vertex),
            Stage::Gathering => self.gather(vertex),
            Stage::Hit
            | Stage::Done
            | Stage::Mapping
            | Stage::LookingUp
            | Stage::Loading
            | Stage::Locking
            | Stage::Rechecking
            | Stage::Executing => {}
        }
    }

    /// Looks up as soon as each input has some key. An input that only content identifies is hashed at once.
    fn key(&mut self, vertex: usize) {
        let mut ready = true;
        for input in 0..self.nodes[vertex].inputs.len() {
            let source = self.nodes[vertex].inputs[input].vertex;
            if self.nodes[source].is_content_only() {
                self.want_content(vertex, input);
            }
            ready &= !self.parents(vertex, input).is_empty();
        }
        if ready {
            self.look_up(vertex, Stage::LookingUp);
        }
    }

    /// All keys of an input, the one that it is defined by first.
    fn parents(&self, vertex: usize, input: usize) -> Vec<Parent> {
        let node = &self.nodes[vertex];
        let selector = node.map.as_ref().and_then(|map| map.inputs[input].selector);
        let input = &node.inputs[input];
        let records = &self.nodes[input.vertex].outputs[input.output].records;
        let mut parents: Vec<Parent> = records.iter().map(|&record| Parent { record, selector }).collect();
        if let Content::Known(key) = input.content {
            parents.push(Parent { record: content_record(key), selector: None });
        }
        parents
    }

    fn all_parents(&self, vertex: usize) -> Vec<Vec<Parent>> {
        (0..self.nodes[vertex].inputs.len()).map(|input| self.parents(vertex, input)).collect()
    }

    /// The keys of the inputs that define a vertex; `None` before all are known.
    fn defining_parents(&self, vertex: usize) -> Option<Vec<Parent>> {
        (0..self.nodes[vertex].inputs.len()).map(|input| self.parents(vertex, input).first().copied()).collect()
    }

    fn look_up(&mut self, vertex: usize, stage: Stage) {
        let node = &self.nodes[vertex];
        let map = node.map.as_ref().expect("a vertex is keyed after it is mapped");
        let outputs = node.needed();
        let keys = if node.inputs.is_empty() {
            QueryKeys::Roots(outputs.iter().map(|&output| self.roots(vertex, output)).collect())
        } else {
            QueryKeys::Inputs(map.op, self.all_parents(vertex))
        };
        for input in 0..self.nodes[vertex].inputs.len() {
            let version = self.nodes[self.nodes[vertex].inputs[input].vertex].key_version;
            let input = &mut self.nodes[vertex].inputs[input];
            input.looked_up = Some((version, input.is_content_known()));
        }
        self.nodes[vertex].stage = stage;
        self.queries.push(Query { vertex, outputs, keys });
    }

    /// The records of a vertex without inputs, the most specific first.
    fn roots(&self, vertex: usize, output: u32) -> Vec<RecordId> {
        let map = self.nodes[vertex].map.as_ref().expect("a vertex is keyed after it is mapped");
        if map.roots.is_empty() {
            return vec![root_record(definition_key(map.op), output)];
        }
        map.roots.iter().map(|&key| root_record(key, output)).collect()
    }

    /// A hit, when every needed output has a result; else the best keys that are known.
    pub(crate) fn take_found(&mut self, vertex: usize, mut found: Found) {
        for (position, output) in self.nodes[vertex].needed().into_iter().zip(&mut found.outputs) {
            let lost = &self.nodes[vertex].outputs[position as usize].lost;
            output.matched.iter_mut().for_each(|found| found.results.retain(|stored| !lost.contains(&stored.result)));
        }
        let rechecked = self.nodes[vertex].stage == Stage::Rechecking;
        let is_hit = found.outputs.iter().all(|output| output.matched.first().is_some_and(|best| !best.results.is_empty()));
        for (position, output) in self.nodes[vertex].needed().into_iter().zip(found.outputs) {
            self.take_found_output(vertex, position, output, is_hit);
        }
        self.touch_users(vertex);
        if is_hit {
            self.nodes[vertex].stage = Stage::Hit;
        } else if rechecked {
            return self.execute(vertex);
        } else {
            self.nodes[vertex].stage = Stage::Missed { may_improve: self.may_improve(vertex) };
        }
        self.touch(vertex);
        if is_hit && self.nodes[vertex].open_users == 0 {
            self.settle(vertex);
        }
    }

    fn take_found_output(&mut self, vertex: usize, position: u32, found: FoundOutput, is_hit: bool) {
        let output = position as usize;
        let FoundOutput { matched, unmatched } = found;
        for (input, unmatched) in self.nodes[vertex].inputs.iter_mut().zip(unmatched) {
            input.unmatched = unmatched;
        }
        self.nodes[vertex].outputs[output].known = !matched.is_empty();
        if self.nodes[vertex].inputs.is_empty() {
            self.set_records(vertex, output, self.roots(vertex, position));
        } else if is_hit {
            self.set_records(vertex, output, matched.iter().take(1).map(|best| best.record).collect());
        } else if matched.is_empty() {
            self.set_records(vertex, output, vec![self.definition(vertex, position)]);
        } else {
            self.set_records(vertex, output, matched.iter().map(|found| found.record).collect());
        }
        if let (true, Some(best)) = (is_hit, matched.into_iter().next()) {
            self.nodes[vertex].outputs[output].results = best.results.into_iter().rev().map(|stored| stored.result).collect();
            if !best.missing.is_empty() {
                self.actions.push(Action::Link(best.record, best.missing));
            }
        }
    }

    fn definition(&self, vertex: usize, output: u32) -> RecordId {
        let parents = self.defining_parents(vertex).expect("a vertex is looked up after its inputs are keyed");
        let map = self.nodes[vertex].map.as_ref().expect("a vertex is keyed after it is mapped");
        definition_record(map.op, output, &parents)
    }

    /// Whether a better key could still lead to a result: not when an input that will not get better leads nowhere.
    fn may_improve(&self, vertex: usize) -> bool {
        let node = &self.nodes[vertex];
        let open = |input: usize| self.is_open(vertex, input);
        let is_dead = (0..node.inputs.len()).any(|input| node.inputs[input].unmatched && !open(input));
        !is_dead && (0..node.inputs.len()).any(open)
    }

    /// Whether more can be learnt of an input than was known at the last look-up.
    fn is_open(&self, vertex: usize, input: usize) -> bool {
        let by_content = self.nodes[vertex].by_content(input);
        let read = &self.nodes[vertex].inputs[input];
        let source = &self.nodes[read.vertex];
        let now = (source.key_version, read.is_content_known());
        !source.is_key_final() || read.looked_up != Some(now) || (by_content && read.is_content_pending())
    }

    /// After a miss: gets better keys if they are asked for and may help, and gives up when nothing can.
    fn improve(&mut self, vertex: usize) {
        let may_improve = self.may_improve(vertex);
        if self.nodes[vertex].stage != (Stage::Missed { may_improve }) {
            self.nodes[vertex].stage = Stage::Missed { may_improve };
            self.touch_users(vertex);
        }
        match self.nodes[vertex].demand {
            Demand::Definition => {}
            Demand::Key | Demand::Result if may_improve => self.improve_inputs(vertex),
            Demand::Key => {}
            Demand::Result => {
                self.nodes[vertex].stage = Stage::Gathering;
                self.gather(vertex);
            }
        }
    }

    /// Keys by content are asked for where definitions lead nowhere, or everywhere but not to one record.
    fn improve_inputs(&mut self, vertex: usize) {
        let all_matched = !self.nodes[vertex].inputs.iter().any(|input| input.unmatched);
        let (mut all_final, mut has_news) = (true, false);
        for input in 0..self.nodes[vertex].inputs.len() {
            let read = &self.nodes[vertex].inputs[input];
            let source = read.vertex;
            if !self.nodes[source].is_key_final() {
                all_final = false;
                self.want_key(source);
                continue;
            }
            has_news |= read.looked_up != Some((self.nodes[source].key_version, read.is_content_known()));
            if self.nodes[vertex].by_content(input) && (all_matched || read.unmatched) {
                self.want_content(vertex, input);
            }
        }
        if all_final && has_news {
            self.look_up(vertex, Stage::LookingUp);
        }
    }

    fn want_content(&mut self, vertex: usize, input: usize) {
        let read = &self.nodes[vertex].inputs[input];
        let (source, output) = (read.vertex, read.output);
        self.want(source, output);
        if self.nodes[source].outputs[output].available {
            self.ask_content(vertex, input);
        }
    }

    /// Executes once all inputs are at hand, and the lock of the step is held.
    fn gather(&mut self, vertex: usize) {
        let mut ready = true;
        for input in 0..self.nodes[vertex].inputs.len() {
            let read = &self.nodes[vertex].inputs[input];
            let (source, output) = (read.vertex, read.output);
            self.want(source, output);
            ready &= self.nodes[source].outputs[output].available;
            if self.nodes[source].is_content_only() {
                self.want_content(vertex, input);
                ready &= !self.nodes[vertex].inputs[input].is_content_pending();
            }
        }
        if !ready {
            return;
        }
        match (self.nodes[vertex].is_content_only(), self.defining_parents(vertex)) {
            (false, Some(parents)) => self.lock(vertex, &parents),
            (true, _) | (false, None) => self.execute(vertex),
        }
    }

    fn lock(&mut self, vertex: usize, parents: &[Parent]) {
        let map = self.nodes[vertex].map.as_ref().expect("a vertex is keyed after it is mapped");
        let op = map.op;
        let roots = map.roots.first().map(|&key| Parent { record: root_record(key, 0), selector: None });
        let name = if parents.is_empty() { lock_name(op, roots.as_slice()) } else { lock_name(op, parents) };
        self.nodes[vertex].stage = Stage::Locking;
        self.actions.push(Action::Lock { vertex, name });
    }

    /// Another build, or another vertex with the same key, may have made the result while this one waited.
    pub(crate) fn recheck(&mut self, vertex: usize) {
        self.look_up(vertex, Stage::Rechecking);
    }

    pub(crate) fn execute(&mut self, vertex: usize) {
        self.nodes[vertex].stage = Stage::Executing;
        self.emit(vertex, StepStatus::Started);
        self.actions.push(Action::Execute(vertex));
    }

    /// Names the outputs of an executed vertex. What was executed although it was known gets a record of its own: on purpose, or because
    /// its results are gone while contents still lead to its old record, which now need not be what it read.
    pub(crate) fn name_results(&mut self, vertex: usize, executed: &Executed) {
        let node = &self.nodes[vertex];
        if node.is_content_only() {
            return;
        }
        let renew = node.ignore_cache || (node.outputs.iter().any(|output| output.known) && self.is_known_by_content(vertex));
        let is_root = node.inputs.is_empty();
        for position in (0..).take(node.outputs.len()) {
            let output = position as usize;
            if is_root {
                self.set_records(vertex, output, self.roots(vertex, position));
            } else if renew && self.defining_parents(vertex).is_some() {
                let definition = self.definition(vertex, position);
                let record = renewed_record(definition, &executed.results, executed.created);
                self.set_records(vertex, output, vec![record]);
            } else if self.nodes[vertex].outputs[output].records.is_empty() && self.defining_parents(vertex).is_some() {
                self.set_records(vertex, output, vec![self.definition(vertex, position)]);
            }
        }
    }

    /// Whether a definition and a content may lead to the same record: not when the content is all there is.
    fn is_known_by_content(&self, vertex: usize) -> bool {
        let node = &self.nodes[vertex];
        (0..node.inputs.len()).any(|input| node.by_content(input) && !self.nodes[node.inputs[input].vertex].is_content_only())
    }

    /// What an executed vertex is saved under: each output's first record, reached from all keys of all inputs.
    pub(crate) fn new_records(&self, vertex: usize) -> Vec<NewRecord> {
        let node = &self.nodes[vertex];
        let op = node.map.as_ref().expect("a vertex is executed after it is mapped").op;
        let parents = self.all_parents(vertex);
        let new_record = |(position, output): (u32, &crate::node::Output)| {
            let record = output.records.first().copied()?;
            Some(NewRecord { output: position as usize, record, links: links(op, position, &parents) })
        };
        (0..).zip(&node.outputs).filter_map(new_record).collect()
    }
}
