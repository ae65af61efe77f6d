//! Many small jobs that do I/O, on threads of their own: rayon's are for jobs that never wait.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tokio_util::sync::CancellationToken;

use crate::WorkError;

/// Jobs taken at once.
const BATCH: usize = 32;
/// More threads than this do not help one file system.
const MOST_THREADS: usize = 16;

/// Calls `each` for all items, from several threads, in no order. The first failure ends all.
pub(super) fn for_each<T: Sync>(
    items: &[T],
    cancel: &CancellationToken,
    each: impl Fn(&T) -> Result<(), WorkError> + Sync,
) -> Result<(), WorkError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            if cancel.is_cancelled() {
                return Err(WorkError::Cancelled);
            }
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(batch) = items.get(first..items.len().min(first + BATCH)).filter(|batch| !batch.is_empty()) else { break };
            for item in batch {
                each(item).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS).min(items.len().div_ceil(BATCH));
    if threads <= 1 {
        return work();
    }
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let results = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(WorkError::Internal("a thread of a copy panicked".to_owned()))));
        // All are joined before the first failure is returned.
        results.collect::<Vec<_>>().into_iter().fold(mine, Result::and)
    })
}
