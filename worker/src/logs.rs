//! The output of a step, kept on disk up to a budget.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use tokio::sync::mpsc;

use crate::WorkError;
use crate::worker::blocking;

/// Chunks that may wait for the disk.
const QUEUE: usize = 64;

/// Writes a step's log on a thread that may block.
pub(crate) struct Log {
    chunks: mpsc::Sender<Vec<u8>>,
    writer: tokio::task::JoinHandle<Result<(), WorkError>>,
}

impl Log {
    /// Starts a new log, in place of an older one of the same step. `budget` in bytes; `None` is unlimited.
    pub(crate) fn start(path: &Path, budget: Option<u64>) -> Log {
        let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let path = path.to_owned();
        let writer = tokio::spawn(blocking(move || {
            let failed = |source| WorkError::State { step: "keep the log of a step", source };
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).map_err(failed)?;
            }
            let mut kept = Kept { to: fs::File::create(&path).map_err(failed)?, left: budget, clipped: false };
            while let Some(chunk) = queue.blocking_recv() {
                kept.write(&chunk, budget).map_err(failed)?;
            }
            Ok(())
        }));
        Log { chunks, writer }
    }

    pub(crate) async fn write(&self, chunk: Vec<u8>) {
        // A log that cannot be written fails in `finish`; the step goes on.
        self.chunks.send(chunk).await.ok();
    }

    /// Waits until all is written.
    pub(crate) async fn finish(self) -> Result<(), WorkError> {
        let Log { chunks, writer } = self;
        drop(chunks);
        writer.await.unwrap_or_else(|error| Err(WorkError::Internal(error.to_string())))
    }
}

struct Kept<W> {
    to: W,
    left: Option<u64>,
    clipped: bool,
}

impl<W: Write> Kept<W> {
    fn write(&mut self, chunk: &[u8], budget: Option<u64>) -> std::io::Result<()> {
        let Some(left) = self.left else { return self.to.write_all(chunk) };
        let fits = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.to.write_all(&chunk[..fits])?;
        self.left = Some(left - fits as u64);
        if fits < chunk.len() && !self.clipped {
            self.clipped = true;
            writeln!(self.to, "\n[output clipped, log limit {} bytes reached]", budget.unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_kept() {
        let check = |budget: Option<u64>, chunks: &[&str], expected: &str| {
            let mut kept = Kept { to: Vec::new(), left: budget, clipped: false };
            chunks.iter().for_each(|chunk| kept.write(chunk.as_bytes(), budget).unwrap());
            assert_eq!(String::from_utf8(kept.to).unwrap(), expected);
        };
        check(None, &["abc", "def"], "abcdef");
        check(Some(6), &["abc", "def"], "abcdef");
        check(Some(4), &["abc", "def", "ghi"], "abcd\n[output clipped, log limit 4 bytes reached]\n");
    }
}
