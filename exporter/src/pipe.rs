//! A bounded pipe between two threads: who writes a stream becomes somebody whom one can read from.
//!
//! At most [`DEPTH`] chunks of [`CHUNK`] bytes are under way. The end is a message of its own, so that a writer that dies
//! is an error for the reader and never a short stream.

use std::io::{self, Read, Write};

use crossbeam_channel::{Receiver, Sender, bounded};

const CHUNK: usize = 256 << 10;
const DEPTH: usize = 4;

enum Message {
    Chunk(Vec<u8>),
    End,
    Failed(io::Error),
}

/// Runs `produce` in a thread of that name; what it writes can be read here. Its error is the reader's.
pub(crate) fn produce(
    name: &str,
    produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> io::Result<PipeReader> {
    let (sender, receiver) = bounded(DEPTH);
    std::thread::Builder::new().name(name.into()).spawn(move || {
        let mut writer = PipeWriter { to: sender, chunk: Vec::with_capacity(CHUNK) };
        let last = match produce(&mut writer).and_then(|()| writer.flush()) {
            Ok(()) => Message::End,
            Err(error) => Message::Failed(error),
        };
        // The reader may have gone away: it does not want to know.
        drop(writer.to.send(last));
    })?;
    Ok(PipeReader { from: receiver, chunk: Vec::new(), at: 0, ended: false })
}

struct PipeWriter {
    to: Sender<Message>,
    chunk: Vec<u8>,
}

impl Write for PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let take = buf.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&buf[..take]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.to.send(Message::Chunk(chunk)).map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }
}

/// The reading end. Dropping it makes the writer fail.
pub(crate) struct PipeReader {
    from: Receiver<Message>,
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            if self.ended {
                return Ok(0);
            }
            match self.from.recv() {
                Ok(Message::Chunk(chunk)) => (self.chunk, self.at) = (chunk, 0),
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed(error)) => return Err(error),
                Err(_gone) => return Err(io::Error::other("the thread that makes this stream ended early")),
            }
        }
        let take = buf.len().min(self.chunk.len() - self.at);
        buf[..take].copy_from_slice(&self.chunk[self.at..self.at + take]);
        self.at += take;
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order() {
        let expected: Vec<u8> = (0u32..1_000_000).flat_map(u32::to_le_bytes).collect();
        let sent = expected.clone();
        let mut reader = produce("test", move |out| sent.chunks(777).try_for_each(|part| out.write_all(part))).unwrap();
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert!(got == expected);
    }

    #[test]
    fn errors_and_deaths_are_no_ends() {
        let mut failing = produce("test", |out| {
            out.write_all(b"x")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap();
        assert_eq!(failing.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut dying = produce("test", |_| std::panic::resume_unwind(Box::new(()))).unwrap();
        assert!(dying.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_reader_that_goes_stops_the_writer() {
        let (sender, receiver) = bounded(1);
        let reader = produce("test", move |out| {
            let result = std::iter::repeat_n([0u8; 4096], 10_000).try_for_each(|part| out.write_all(&part));
            sender.send(result.as_ref().unwrap_err().kind()).unwrap();
            result
        });
        drop(reader.unwrap());
        assert_eq!(receiver.recv().unwrap(), io::ErrorKind::BrokenPipe);
    }
}
