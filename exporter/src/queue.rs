//! How many layers are made at once, and the layers that are made in the background.
//!
//! Order: a layer's key lock, then a slot; who has a slot never waits for a lock.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rbuild_snapshotter::{Snapshot, Snapshotter};

use crate::LayerOptions;
use crate::layer::{self, LayerSpec};

/// A pipeline has one thread of its own and compresses on rayon: more of them than cores only take memory.
pub(crate) static WIDTH: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(1, 16));

static SLOTS: LazyLock<Slots> = LazyLock::new(|| Slots { free: Mutex::new(*WIDTH), freed: Condvar::new() });

static BACKGROUND: LazyLock<Sender<Job>> = LazyLock::new(start_background);

struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to run one pipeline, given back by drop.
pub(crate) struct Slot(());

impl Slot {
    /// Waits until fewer than [`WIDTH`] pipelines run in this process.
    pub(crate) fn take() -> Slot {
        let mut free = SLOTS.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = SLOTS.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *SLOTS.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        SLOTS.freed.notify_one();
    }
}

struct Job {
    snapshotter: Snapshotter,
    snapshot: Snapshot,
    spec: LayerSpec,
}

/// Starts making one layer in the background, as soon as its step has committed; [`crate::make_image`] then finds it, or waits
/// for it, or makes it itself when this one failed. Returns at once.
pub fn start_layer(snapshotter: &Snapshotter, snapshot: &Snapshot, options: &LayerOptions) {
    let spec = LayerSpec::of(options);
    let job = Job { snapshotter: snapshotter.clone(), snapshot: snapshot.clone(), spec };
    if BACKGROUND.send(job).is_err() {
        tracing::debug!("no thread could be started for layers in the background");
    }
}

fn start_background() -> Sender<Job> {
    let (sender, receiver) = unbounded();
    for number in 0..*WIDTH {
        let receiver = receiver.clone();
        let started = std::thread::Builder::new().name(format!("layer-{number}")).spawn(move || run_jobs(&receiver));
        if let Err(error) = started {
            tracing::debug!(%error, "a thread for layers could not be started");
        }
    }
    sender
}

fn run_jobs(jobs: &Receiver<Job>) {
    for Job { snapshotter, snapshot, spec } in jobs {
        if let Err(error) = layer::layer(&snapshotter, &snapshot, &spec) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                snapshot = snapshot.id.0,
                "a layer failed in the background"
            );
        }
    }
}

/// Runs `work` on each item with up to [`WIDTH`] threads; results in the items' order, the first error in that order.
pub(crate) fn in_parallel<T: Sync, R: Send, E: Send>(items: &[T], work: impl Fn(&T) -> Result<R, E> + Sync) -> Result<Vec<R>, E> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::atomic::AtomicBool::new(false);
    let run = || {
        let mut done = Vec::new();
        while !failed.load(std::sync::atomic::Ordering::Relaxed) {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            failed.fetch_or(result.is_err(), std::sync::atomic::Ordering::Relaxed);
            done.push((index, result));
        }
        done
    };
    let mut results = match items.len().min(*WIDTH) {
        0 | 1 => run(),
        threads => std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
            let mut all = run();
            for other in others {
                all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        }),
    };
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_the_first_error_wins() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(in_parallel(&items, |n| Ok::<u32, ()>(n * 2)).unwrap(), items.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(in_parallel(&items, |n| if *n == 3 { Err(*n) } else { Ok(()) }), Err(3));
        assert_eq!(in_parallel(&[] as &[u32], |_| Ok::<(), ()>(())), Ok(vec![]));
    }
}
