//! One solve: the task that owns all state, spawns the machine's actions and hands it their reports.

use std::collections::HashMap;
use std::sync::Arc;

use rbuild_graph::{Edge, Graph, OutputIndex, Vertex, VertexDigest, VertexMeta};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::action::{Action, Found, NewRecord, Query};
use crate::lookup::look_up;
use crate::machine::{Executed, Machine};
use crate::{
    CacheMap, ContentKey, Event, EventSink, RecordError, Records, ResultId, SolveError, StepContext, StepStatus, Worker,
};

/// Makes the outputs that `targets` name, in their order: from the cache where records say that nothing changed, by the worker where
/// not.
///
/// In a successful solve each vertex that the targets need has exactly one terminal event; in a failed one, each that has started.
/// The first failure, or `cancel`, cancels all steps and waits until they have ended.
///
/// # Errors
/// The first failed step; a failure of the records; cancellation.
///
/// # Panics
/// When the worker panics.
pub async fn solve<W: Worker, R: Records>(
    graph: Arc<Graph>,
    targets: &[Edge],
    worker: Arc<W>,
    records: Arc<R>,
    events: Arc<dyn EventSink>,
    cancel: CancellationToken,
) -> Result<Vec<W::Output>, SolveError<W::Error>> {
    let (machine, digests) = Machine::new(&graph, targets).map_err(SolveError::Target)?;
    let outputs = digests.iter().map(|digest| vec![None; graph.vertex(digest).map_or(0, Vertex::outputs)]).collect();
    let steps = cancel.child_token();
    let solve = Solve {
        machine,
        digests,
        outputs,
        graph,
        worker,
        records,
        events,
        cancel,
        steps,
        jobs: JoinSet::new(),
        locks: HashMap::new(),
        failure: None,
    };
    solve.run().await
}

struct Solve<W: Worker, R: Records> {
    machine: Machine,
    digests: Vec<VertexDigest>,
    outputs: Vec<Vec<Option<W::Output>>>,
    graph: Arc<Graph>,
    worker: Arc<W>,
    records: Arc<R>,
    events: Arc<dyn EventSink>,
    cancel: CancellationToken,
    /// Cancels all steps, also after a failure.
    steps: CancellationToken,
    jobs: JoinSet<Report<W, R>>,
    locks: HashMap<usize, R::Lock>,
    failure: Option<SolveError<W::Error>>,
}

/// What a job says when it ends.
enum Report<W: Worker, R: Records> {
    Mapped(usize, Result<CacheMap, W::Error>),
    Content {
        vertex: usize,
        input: usize,
        key: Result<ContentKey, W::Error>,
    },
    Found(Result<Vec<(usize, Found)>, RecordError>),
    Loaded {
        vertex: usize,
        output: usize,
        loaded: Result<Option<W::Output>, W::Error>,
    },
    /// `None` when it was cancelled.
    Locked(usize, Option<Result<R::Lock, RecordError>>),
    Executed(usize, Result<Vec<W::Output>, W::Error>),
    Saved(usize, Result<(), RecordError>),
    Written(Result<(), RecordError>),
}

impl<W: Worker, R: Records> Solve<W, R> {
    async fn run(mut self) -> Result<Vec<W::Output>, SolveError<W::Error>> {
        let _cancels_steps_when_dropped = self.steps.clone().drop_guard();
        loop {
            self.perform();
            if self.machine.is_finished() || self.failure.is_some() {
                break;
            }
            let report = tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    self.fail(SolveError::Cancelled);
                    continue;
                }
                report = self.jobs.join_next() => report,
            };
            self.take(report.expect("a solve that is not finished has work under way"));
            while let Some(report) = self.jobs.try_join_next() {
                self.take(report);
            }
        }
        self.end().await
    }

    /// Ends what still runs, and tells how it all ended.
    async fn end(mut self) -> Result<Vec<W::Output>, SolveError<W::Error>> {
        self.stop();
        self.perform();
        while let Some(report) = self.jobs.join_next().await {
            self.take(report);
            self.perform();
        }
        self.machine.finish(self.failure.is_none());
        self.perform();
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let output =
            |&(vertex, output): &(usize, usize)| self.outputs[vertex][output].clone().expect("a finished target is at hand");
        Ok(self.machine.targets.iter().map(output).collect())
    }

    fn fail(&mut self, failure: SolveError<W::Error>) {
        self.failure.get_or_insert(failure);
        self.stop();
    }

    fn stop(&mut self) {
        self.steps.cancel();
        self.machine.stop();
    }

    fn fail_step(&mut self, vertex: usize, source: W::Error) {
        if self.steps.is_cancelled() {
            self.machine.emit(vertex, StepStatus::Cancelled);
            return if self.failure.is_none() && self.cancel.is_cancelled() {
                self.fail(SolveError::Cancelled)
            };
        }
        self.machine.emit(vertex, StepStatus::Failed(chain(&source)));
        let (_, meta) = self.vertex(vertex);
        let meta = Box::new(meta.clone());
        self.fail(SolveError::Step { vertex: self.digests[vertex], meta, source });
    }

    fn vertex(&self, vertex: usize) -> (&Vertex, &VertexMeta) {
        lookup_vertex(&self.graph, &self.digests[vertex])
    }

    fn take(&mut self, report: Result<Report<W, R>, JoinError>) {
        match report {
            Ok(report) => self.take_report(report),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => self.fail(SolveError::Cancelled),
        }
    }

    fn take_report(&mut self, report: Report<W, R>) {
        match report {
            Report::Mapped(vertex, Ok(map)) => self.take_map(vertex, map),
            Report::Mapped(vertex, Err(error)) => self.fail_step(vertex, error),
            Report::Content { vertex, input, key: Ok(key) } => self.machine.on_content(vertex, input, Some(key)),
            Report::Content { vertex, input, key: Err(error) } => {
                if self.machine.needs_content(vertex, input) && !self.machine.stopping {
                    self.fail_step(vertex, error);
                } else {
                    self.machine.on_content(vertex, input, None);
                }
            }
            Report::Found(Ok(found)) => self.take_found(found),
            Report::Loaded { vertex, output, loaded: Ok(loaded) } => {
                let is_loaded = loaded.is_some();
                if is_loaded {
                    self.outputs[vertex][output] = loaded;
                }
                self.machine.on_loaded(vertex, output, is_loaded);
            }
            Report::Loaded { vertex, output: _, loaded: Err(error) } => self.fail_step(vertex, error),
            Report::Locked(_, None) => {}
            Report::Locked(vertex, Some(Ok(lock))) => {
                if !self.machine.stopping {
                    self.locks.insert(vertex, lock);
                    self.machine.on_locked(vertex);
                }
            }
            Report::Executed(vertex, Ok(outputs)) => self.take_executed(vertex, outputs),
            Report::Executed(vertex, Err(error)) => {
                self.locks.remove(&vertex);
                self.fail_step(vertex, error);
            }
            Report::Saved(vertex, saved) => {
                self.machine.on_saved(vertex);
                self.take_written(saved);
            }
            Report::Written(written) => self.take_written(written),
            Report::Found(Err(error)) | Report::Locked(_, Some(Err(error))) => self.take_written(Err(error)),
        }
    }

    fn take_written(&mut self, written: Result<(), RecordError>) {
        if let Err(error) = written {
            self.fail(SolveError::Records(error));
        }
    }

    fn take_map(&mut self, vertex: usize, map: CacheMap) {
        let expected = self.machine.nodes[vertex].inputs.len();
        if map.inputs.len() != expected {
            return self.break_contract(vertex, "input keys", map.inputs.len(), expected);
        }
        self.machine.on_mapped(vertex, map);
    }

    fn take_found(&mut self, found: Vec<(usize, Found)>) {
        for (vertex, found) in found {
            if !self.machine.stopping {
                self.machine.on_found(vertex, found);
            }
        }
    }

    fn take_executed(&mut self, vertex: usize, outputs: Vec<W::Output>) {
        let expected = self.outputs[vertex].len();
        if outputs.len() != expected {
            self.locks.remove(&vertex);
            return self.break_contract(vertex, "outputs", outputs.len(), expected);
        }
        let results = outputs.iter().map(|output| self.worker.result_id(output)).collect();
        self.outputs[vertex] = outputs.into_iter().map(Some).collect();
        self.machine.on_executed(vertex, &Executed { results, created: self.events.now() });
    }

    fn break_contract(&mut self, vertex: usize, what: &'static str, found: usize, expected: usize) {
        let name = self.vertex(vertex).1.name.clone();
        self.fail(SolveError::Contract { what, name, found, expected });
    }

    /// Begins all that the machine asks for. Look-ups that are asked for together are one job.
    fn perform(&mut self) {
        let queries = self.machine.take_queries();
        if !queries.is_empty() {
            let records = self.records.clone();
            self.jobs.spawn_blocking(move || Report::Found(look_up_all(&*records, &queries)));
        }
        for action in self.machine.take_actions() {
            self.perform_one(action);
        }
    }

    fn perform_one(&mut self, action: Action) {
        match action {
            Action::Emit { vertex, status } => self.emit(vertex, status),
            Action::Map(vertex) => self.map(vertex),
            Action::Content { vertex, input } => self.hash(vertex, input),
            Action::Execute(vertex) => self.execute(vertex),
            Action::Load { vertex, output, result } => self.load(vertex, output, result),
            Action::Lock { vertex, name } => self.lock(vertex, name),
            Action::Unlock(vertex) => drop(self.locks.remove(&vertex)),
            Action::Save { vertex, outputs } => self.save(vertex, outputs),
            Action::Link(record, links) => self.write(move |records| records.link(record, &links)),
            Action::Forget(record, result) => self.write(move |records| records.forget(record, &result)),
        }
    }

    fn emit(&self, vertex: usize, status: StepStatus) {
        let (definition, meta) = self.vertex(vertex);
        let inputs = definition.inputs.iter().map(|edge| edge.vertex).collect();
        let name = meta.name.clone();
        self.events.send(Event::Vertex { vertex: self.digests[vertex], name, inputs, status, time: self.events.now() });
    }

    fn step(&self, vertex: usize) -> Step<W> {
        let meta = self.vertex(vertex).1.clone();
        let context = StepContext { digest: self.digests[vertex], meta, cancel: self.steps.clone(), events: self.events.clone() };
        Step { graph: self.graph.clone(), worker: self.worker.clone(), context }
    }

    fn map(&mut self, vertex: usize) {
        let step = self.step(vertex);
        self.jobs.spawn(async move { Report::Mapped(vertex, step.worker.cache_map(step.vertex(), &step.context).await) });
    }

    fn hash(&mut self, vertex: usize, input: usize) {
        let step = self.step(vertex);
        let output = self.input(vertex, input);
        self.jobs.spawn(async move {
            let key = step.worker.content_key(step.vertex(), input, &output, &step.context).await;
            Report::Content { vertex, input, key }
        });
    }

    fn execute(&mut self, vertex: usize) {
        let step = self.step(vertex);
        let inputs = (0..self.machine.nodes[vertex].inputs.len()).map(|input| self.input(vertex, input)).collect();
        self.jobs.spawn(async move { Report::Executed(vertex, step.worker.execute(step.vertex(), inputs, &step.context).await) });
    }

    fn input(&self, vertex: usize, input: usize) -> W::Output {
        let input = &self.machine.nodes[vertex].inputs[input];
        self.outputs[input.vertex][input.output].clone().expect("the machine uses only what is available")
    }

    fn load(&mut self, vertex: usize, output: usize, result: ResultId) {
        let step = self.step(vertex);
        let index = OutputIndex(u32::try_from(output).expect("outputs are numbered by u32"));
        self.jobs.spawn(async move {
            let loaded = step.worker.load(step.vertex(), index, &result).await;
            Report::Loaded { vertex, output, loaded }
        });
    }

    fn lock(&mut self, vertex: usize, name: String) {
        let (records, steps) = (self.records.clone(), self.steps.clone());
        self.jobs.spawn(async move { Report::Locked(vertex, steps.run_until_cancelled(records.lock(name)).await) });
    }

    fn save(&mut self, vertex: usize, outputs: Vec<NewRecord>) {
        let created = self.events.now();
        let results: Vec<Option<ResultId>> =
            self.outputs[vertex].iter().map(|output| self.worker.result_id(output.as_ref()?)).collect();
        let records = self.records.clone();
        self.jobs.spawn_blocking(move || Report::Saved(vertex, save_all(&*records, &outputs, &results, created)));
    }

    fn write(&mut self, write: impl FnOnce(&R) -> Result<(), RecordError> + Send + 'static) {
        let records = self.records.clone();
        self.jobs.spawn_blocking(move || Report::Written(write(&records)));
    }
}

/// What every job of a step holds on to.
struct Step<W> {
    graph: Arc<Graph>,
    worker: Arc<W>,
    context: StepContext,
}

impl<W> Step<W> {
    fn vertex(&self) -> &Vertex {
        lookup_vertex(&self.graph, &self.context.digest).0
    }
}

fn lookup_vertex<'a>(graph: &'a Graph, digest: &VertexDigest) -> (&'a Vertex, &'a VertexMeta) {
    graph.vertex(digest).zip(graph.meta(digest)).expect("the machine's vertices are the graph's")
}

fn look_up_all(records: &impl Records, queries: &[Query]) -> Result<Vec<(usize, Found)>, RecordError> {
    queries.iter().map(|query| Ok((query.vertex, look_up(records, query)?))).collect()
}

fn save_all(
    records: &impl Records,
    outputs: &[NewRecord],
    results: &[Option<ResultId>],
    created: i64,
) -> Result<(), RecordError> {
    for NewRecord { output, record, links } in outputs {
        if !links.is_empty() {
            records.link(*record, links)?;
        }
        if let Some(result) = &results[*output] {
            records.save(*record, result, created)?;
        }
    }
    Ok(())
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
