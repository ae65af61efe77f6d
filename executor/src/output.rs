//! What a command writes, in chunks, without a thread and with bounded memory: nothing is read before it is asked for.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Largest chunk, bytes: a pipe's default size.
const CHUNK_BYTES: usize = 64 << 10;

/// What [`Output::keep`] keeps, bytes.
const KEPT_BYTES: usize = 1 << 20;

/// Something a command wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// To standard error, else to standard output.
    pub stderr: bool,
    /// Not empty, at most 64 KiB; characters and lines may be cut.
    pub bytes: Vec<u8>,
}

/// The reading ends of a command's two pipes.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Option<AsyncFd<OwnedFd>>,
    stderr: Option<AsyncFd<OwnedFd>>,
    kept: VecDeque<Chunk>,
    kept_bytes: usize,
}

impl Output {
    pub(crate) fn new(stdout: AsyncFd<OwnedFd>, stderr: AsyncFd<OwnedFd>) -> Output {
        Output { stdout: Some(stdout), stderr: Some(stderr), kept: VecDeque::new(), kept_bytes: 0 }
    }

    /// Of a command whose output goes elsewhere.
    pub(crate) fn none() -> Output {
        Output { stdout: None, stderr: None, kept: VecDeque::new(), kept_bytes: 0 }
    }

    /// The next chunk, in the order of arrival as far as two pipes have one; `None` after the end of both. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Chunk> {
        if let Some(chunk) = self.kept.pop_front() {
            self.kept_bytes -= chunk.bytes.len();
            return Some(chunk);
        }
        self.read().await
    }

    /// Reads on and keeps the last [`KEPT_BYTES`] of it for [`Output::next`], so that the command never waits. Ends never.
    pub(crate) async fn keep(&mut self) -> Infallible {
        while let Some(chunk) = self.read().await {
            self.kept_bytes += chunk.bytes.len();
            self.kept.push_back(chunk);
            while self.kept_bytes > KEPT_BYTES {
                let Some(oldest) = self.kept.pop_front() else { break };
                self.kept_bytes -= oldest.bytes.len();
            }
        }
        pending().await
    }

    async fn read(&mut self) -> Option<Chunk> {
        while self.stdout.is_some() || self.stderr.is_some() {
            let (stderr, read) = tokio::select! {
                read = read_pipe(self.stdout.as_ref()) => (false, read),
                read = read_pipe(self.stderr.as_ref()) => (true, read),
            };
            match read {
                Ok(bytes) if !bytes.is_empty() => return Some(Chunk { stderr, bytes }),
                // A pipe has no error but its end.
                Ok(_) | Err(_) if stderr => self.stderr = None,
                Ok(_) | Err(_) => self.stdout = None,
            }
        }
        None
    }
}

async fn read_pipe(pipe: Option<&AsyncFd<OwnedFd>>) -> io::Result<Vec<u8>> {
    let Some(pipe) = pipe else { return pending().await };
    pipe.async_io(Interest::READABLE, |pipe| {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        rustix::io::read(pipe, rustix::buffer::spare_capacity(&mut bytes))?;
        bytes.shrink_to_fit();
        Ok(bytes)
    })
    .await
}
