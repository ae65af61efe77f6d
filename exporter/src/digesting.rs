//! Readers and writers that hash what passes through them.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rbuild_oci::{Algorithm, Digest, Digester};

/// Digest and length in bytes of what has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

struct Count {
    digester: Digester,
    size: u64,
}

impl Count {
    fn new(algorithm: Algorithm) -> Count {
        Count { digester: Digester::new(algorithm), size: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.digester.update(bytes);
        self.size += bytes.len() as u64;
    }

    fn passed(self) -> Passed {
        Passed { digest: self.digester.finish(), size: self.size }
    }
}

/// Hashes what is written to `inner` with SHA-256.
pub(crate) struct HashWriter<W> {
    inner: W,
    count: Count,
}

impl<W: Write> HashWriter<W> {
    pub(crate) fn new(inner: W) -> HashWriter<W> {
        HashWriter { inner, count: Count::new(Algorithm::Sha256) }
    }

    pub(crate) fn finish(self) -> (W, Passed) {
        (self.inner, self.count.passed())
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.count.add(&buf[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Hashes what is read from `inner`.
pub(crate) struct HashReader<R> {
    inner: R,
    count: Count,
}

impl<R: Read> HashReader<R> {
    pub(crate) fn new(inner: R, algorithm: Algorithm) -> HashReader<R> {
        HashReader { inner, count: Count::new(algorithm) }
    }

    /// Reads to the end and says what has passed.
    pub(crate) fn finish(mut self) -> io::Result<Passed> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.count.passed())
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.count.add(&buf[..got]);
        Ok(got)
    }
}

/// Hashes what is read from `inner` by somebody who keeps the reader: [`Tap::passed`] asks from outside.
pub(crate) struct TapReader<R> {
    inner: R,
    tap: Tap,
}

/// The outside of a [`TapReader`].
#[derive(Clone)]
pub(crate) struct Tap(Arc<Mutex<Count>>);

impl<R: Read> TapReader<R> {
    pub(crate) fn new(inner: R, algorithm: Algorithm) -> (TapReader<R>, Tap) {
        let tap = Tap(Arc::new(Mutex::new(Count::new(algorithm))));
        (TapReader { inner, tap: tap.clone() }, tap)
    }
}

impl<R: Read> Read for TapReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.tap.0.lock().unwrap_or_else(PoisonError::into_inner).add(&buf[..got]);
        Ok(got)
    }
}

impl Tap {
    /// What has passed so far.
    pub(crate) fn passed(&self) -> Passed {
        let count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Passed { digest: count.digester.clone().finish(), size: count.size }
    }
}
