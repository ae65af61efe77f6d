//! RUN: one process over mounted inputs; what it changed becomes the outputs.
//!
//! Order: inputs made real → cache-mount locks, sorted by id → a slot → mounts → the process → commits. A slot's holder waits for no lock.

mod cache;
mod mounts;

use std::path::Path;
use std::sync::Arc;

use rbuild_executor::{Exit, ExitStatus, Process, Stdio};
use rbuild_graph::{ExecOp, InputIndex, Mount, MountKind, OutputIndex};
use rbuild_snapshotter::ActiveSnapshot;
use rbuild_solver::{Event, LogStream, StepContext};
use tokio_util::sync::CancellationToken;

use self::mounts::Shown;
use crate::WorkError;
use crate::logs::Log;
use crate::options::Output;
use crate::select::missing;
use crate::worker::{Inner, blocking};

pub(crate) async fn run(
    worker: &Arc<Inner>,
    op: &ExecOp,
    inputs: &[Output],
    step: &StepContext,
) -> Result<Vec<Output>, WorkError> {
    mounts::check(op, &worker.options)?;
    let mut shown = Vec::with_capacity(op.mounts.len());
    for mount in &op.mounts {
        shown.push(show(worker, mount, inputs, &step.cancel).await?);
    }
    let caches = cache::acquire(worker, op, &step.cancel).await?;
    let slot = tokio::select! {
        slot = worker.slots.acquire() => slot.map_err(|error| WorkError::Internal(error.to_string()))?,
        () = step.cancel.cancelled() => return Err(WorkError::Cancelled),
    };
    let prepared = {
        let (worker, op, paths) = (Arc::clone(worker), op.clone(), caches.paths());
        blocking(move || mounts::prepare(&worker.options, &op, &shown, &paths)).await?
    };
    let sandbox = |source| WorkError::Sandbox { command: op.args.join(" "), source };
    let mut process = worker.options.executor.spawn(prepared.spec, Stdio::Piped).await.map_err(sandbox)?;
    let log = Log::start(&worker.options.snapshotter.store().log_path(&step.digest.to_hex()), worker.options.log_budget);
    let exit = attend(&mut process, &log, step).await;
    log.finish().await?;
    let exit = match exit {
        Some(exit) => exit.map_err(sandbox)?,
        None => {
            process.kill().await.map_err(sandbox)?;
            return Err(WorkError::Cancelled);
        }
    };
    drop(process);
    drop(slot);
    drop(caches);
    judge(&op.args, &exit)?;
    commit(worker, prepared.states, step).await
}

/// Makes real what a mount shows. Of a context only the part that is mounted is copied.
async fn show(worker: &Arc<Inner>, mount: &Mount, inputs: &[Output], cancel: &CancellationToken) -> Result<Shown, WorkError> {
    // Caches take what they begin with only when they are new.
    let Some(index) = mount.input.filter(|_| mount.kind == MountKind::Bind) else { return Ok(Shown::default()) };
    let input = input(inputs, index)?;
    let Some(selector) = mount.selector.clone().filter(|selector| selector != "/") else {
        return Ok(Shown { snapshot: worker.snapshot(input, cancel).await?, part: None });
    };
    let tree = worker.tree(input, cancel).await?;
    let part = blocking(move || match tree.resolve(Path::new(&selector), true)? {
        Some((path, _)) => Ok(path),
        None => Err(missing(&tree, &selector)),
    })
    .await?;
    let snapshot = match input {
        Output::Local(_) => Some(worker.part(input, &part, cancel).await?),
        Output::Scratch | Output::Snapshot(_) | Output::Image(_) | Output::File(_) => worker.snapshot(input, cancel).await?,
    };
    Ok(Shown { snapshot, part: Some(part).filter(|part| part != Path::new("/")) })
}

fn input(inputs: &[Output], index: InputIndex) -> Result<&Output, WorkError> {
    let position = usize::try_from(index.0).ok();
    position.and_then(|position| inputs.get(position)).ok_or(WorkError::UnknownInput(index))
}

/// Passes output on until the process has ended; `None` when nobody wants it any more.
async fn attend(process: &mut Process, log: &Log, step: &StepContext) -> Option<Result<Exit, rbuild_executor::ExecutorError>> {
    loop {
        let chunk = tokio::select! {
            biased;
            () = step.cancel.cancelled() => return None,
            chunk = process.output() => chunk,
        };
        let Some(chunk) = chunk else { break };
        log.write(chunk.bytes.clone()).await;
        step.events.send(Event::Log {
            vertex: step.digest,
            stream: if chunk.stderr { LogStream::Stderr } else { LogStream::Stdout },
            bytes: chunk.bytes,
            time: step.events.now(),
        });
    }
    tokio::select! {
        biased;
        () = step.cancel.cancelled() => None,
        exit = process.wait() => Some(exit),
    }
}

/// BuildKit's words for what went wrong (spec G-68).
fn judge(args: &[String], exit: &Exit) -> Result<(), WorkError> {
    let code = match exit.status {
        ExitStatus::Code(0) => return Ok(()),
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => 128 + signal,
    };
    let why = match exit.status {
        ExitStatus::Code(_) | ExitStatus::Signal(_) if exit.oom => " (killed by the kernel for lack of memory)".to_owned(),
        ExitStatus::Code(_) => String::new(),
        ExitStatus::Signal(signal) => format!(" (killed by signal {signal})"),
    };
    Err(WorkError::Process {
        command: args.join(" "),
        outcome: format!("exit code: {code}{why}"),
        code: Some(code),
        oom: exit.oom,
    })
}

/// Commits what has an output; the rest is thrown away behind the next step.
async fn commit(
    worker: &Arc<Inner>,
    states: Vec<(Option<OutputIndex>, ActiveSnapshot)>,
    step: &StepContext,
) -> Result<Vec<Output>, WorkError> {
    let (worker, name) = (Arc::clone(worker), step.meta.name.clone());
    let mut outputs = blocking(move || {
        let mut outputs = Vec::new();
        let mut discarded = Vec::new();
        for (output, active) in states {
            match output {
                Some(output) => {
                    let committed = worker.options.snapshotter.driver().commit(active, &name);
                    outputs.push((output, committed.map_err(|source| WorkError::Snapshot { step: "committed", source })?));
                }
                None => discarded.push(active),
            }
        }
        if !discarded.is_empty() {
            tokio::task::spawn_blocking(move || drop(discarded));
        }
        Ok(outputs)
    })
    .await?;
    outputs.sort_by_key(|(output, _)| *output);
    Ok(outputs.into_iter().map(|(_, snapshot)| Output::Snapshot(snapshot)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_buildkits_words() {
        let check = |status: ExitStatus, oom: bool, expected: &str| {
            let args = ["/bin/sh", "-c", "make"].map(str::to_owned);
            let said = judge(&args, &Exit { status, oom }).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(said, expected);
        };
        check(ExitStatus::Code(0), false, "");
        let failed = |what: &str| format!("process \"/bin/sh -c make\" did not complete successfully: exit code: {what}");
        check(ExitStatus::Code(2), false, &failed("2"));
        check(ExitStatus::Signal(9), false, &failed("137 (killed by signal 9)"));
        check(ExitStatus::Signal(9), true, &failed("137 (killed by the kernel for lack of memory)"));
        check(ExitStatus::Code(137), true, &failed("137 (killed by the kernel for lack of memory)"));
    }
}
