//! Files from URLs (spec G-51): asked for again in every build, sent again only when they changed.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rbuild_graph::{Encoder, HttpSource};
use rbuild_http::{Fetched, HttpError, Response, Validators};
use rbuild_oci::Digest;
use rbuild_snapshotter::Snapshotter;
use rbuild_solver::{Event, StepContext};
use rbuild_store::{BlobStat, Resource, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, mpsc};

use crate::WorkError;
use crate::options::FileOutput;
use crate::worker::{Inner, blocking};

/// Namespace of what is noted in the store, by URL.
const NOTES: &str = "http.v1";
/// Longest download.
const LIMIT: u64 = 1 << 40;
/// Pauses before a request is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// Chunks that may wait for the disk.
const QUEUE: usize = 64;
/// Time between two progress events, nanoseconds.
const PROGRESS: i64 = 100_000_000;

/// Downloads of this build, each made once, by URL and checksum.
#[derive(Default)]
pub(crate) struct Downloads {
    flights: Mutex<HashMap<(String, Option<Digest>), Flight>>,
}

/// One download, made by the first who asks.
type Flight = Arc<OnceCell<Note>>;

/// What is known of a URL's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    etag: Option<String>,
    last_modified: Option<i64>,
    blob: Digest,
    size: u64,
}

/// The file that a URL has now.
pub(crate) async fn fetch(worker: &Inner, source: &HttpSource, step: &StepContext) -> Result<Arc<FileOutput>, WorkError> {
    let flights = &worker.downloads.flights;
    let flight = {
        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(flights.entry((source.url.clone(), source.checksum.clone())).or_default())
    };
    let download = flight.get_or_try_init(|| download(worker, source, step));
    let note = tokio::select! {
        note = download => note?.clone(),
        () = step.cancel.cancelled() => return Err(WorkError::Cancelled),
    };
    let mtime = note.last_modified.unwrap_or(0);
    Ok(Arc::new(output(source, note.blob, note.size, mtime)))
}

/// The file as the source says it should look.
pub(crate) fn output(source: &HttpSource, blob: Digest, size: u64, mtime: i64) -> FileOutput {
    let HttpSource { url: _, filename, mode, uid, gid, checksum: _ } = source;
    FileOutput { blob, size, name: filename.clone(), mode: *mode, uid: *uid, gid: *gid, mtime }
}

/// What identifies the file: all that a copy can see of it.
pub(crate) fn root_key(file: &FileOutput) -> [u8; 32] {
    let FileOutput { blob, size: _, name, mode, uid, gid, mtime } = file;
    let mut to = Encoder::new("rbuild.root.http.v1");
    to.text(name);
    to.u32(*mode);
    to.u32(*uid);
    to.u32(*gid);
    to.text(&blob.to_string());
    to.i64(*mtime);
    to.finish()
}

async fn download(worker: &Inner, source: &HttpSource, step: &StepContext) -> Result<Note, WorkError> {
    let snapshotter = &worker.options.snapshotter;
    let noted = {
        let (snapshotter, url) = (snapshotter.clone(), source.url.clone());
        blocking(move || recall(&snapshotter, &url)).await?
    };
    // What must have a certain digest, and is here, need not be asked for.
    if let (Some(note), Some(checksum)) = (&noted, &source.checksum)
        && note.blob == *checksum
    {
        return Ok(note.clone());
    }
    let validators = noted
        .as_ref()
        .map(|note| Validators { etag: note.etag.clone(), last_modified: note.last_modified })
        .filter(|validators| *validators != Validators::default());
    let note = match (request(worker, source, validators.as_ref()).await?, noted) {
        (Response::NotModified, Some(note)) => note,
        (Response::NotModified, None) => {
            return Err(WorkError::Internal("a server answered 304 to an unconditional request".to_owned()));
        }
        (Response::Fetched(fetched), _) => receive(snapshotter, source, fetched, step).await?,
    };
    if let Some(expected) = &source.checksum
        && note.blob != *expected
    {
        return Err(mismatch(source, expected.clone(), note.blob));
    }
    let (snapshotter, url, kept) = (snapshotter.clone(), source.url.clone(), note.clone());
    blocking(move || remember(&snapshotter, &url, &kept)).await?;
    Ok(note)
}

async fn request(worker: &Inner, source: &HttpSource, validators: Option<&Validators>) -> Result<Response, WorkError> {
    let mut pauses = PAUSES.iter();
    loop {
        match worker.options.http.get(&source.url, validators).await {
            Ok(response) => return Ok(response),
            Err(error) => match pauses.next().filter(|_| error.is_transient()) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(failed(source, error)),
            },
        }
    }
}

/// Streams the content into a blob.
async fn receive(
    snapshotter: &Snapshotter,
    source: &HttpSource,
    mut fetched: Fetched,
    step: &StepContext,
) -> Result<Note, WorkError> {
    let (chunks, queue) = mpsc::channel::<Piece>(QUEUE);
    let writing = {
        let (snapshotter, expected) = (snapshotter.clone(), source.checksum.clone());
        tokio::spawn(blocking(move || write(&snapshotter, queue, expected.as_ref())))
    };
    let mut size = 0_u64;
    let mut shown = step.events.now();
    let progress = |current, completed| Event::Status {
        vertex: step.digest,
        id: format!("downloading {}", source.filename),
        current,
        total: fetched.content_length.unwrap_or(0),
        time: step.events.now(),
        completed,
    };
    step.events.send(progress(0, false));
    while let Some(chunk) = fetched.body.chunk().await.map_err(|error| failed(source, error))? {
        size += chunk.len() as u64;
        if size > LIMIT {
            return Err(WorkError::TooLarge { url: shown_url(&source.url), limit: LIMIT });
        }
        if step.events.now() - shown >= PROGRESS {
            shown = step.events.now();
            step.events.send(progress(size, false));
        }
        if chunks.send(Piece::Chunk(chunk)).await.is_err() {
            break;
        }
    }
    // Who does not listen any more has failed, and says so below.
    chunks.send(Piece::End).await.ok();
    drop(chunks);
    let written = writing.await.unwrap_or_else(|error| Err(WorkError::Internal(error.to_string())));
    let BlobStat { digest, size } = written.map_err(|error| {
        if let WorkError::Store { source: StoreError::DigestMismatch { expected, actual }, .. } = error {
            return mismatch(source, expected, actual);
        }
        error
    })?;
    step.events.send(progress(size, true));
    let Validators { etag, last_modified } = fetched.validators;
    Ok(Note { etag, last_modified, blob: digest, size })
}

/// A piece of a download on its way to the disk. Without an end, it is thrown away.
enum Piece {
    Chunk(Bytes),
    End,
}

fn write(snapshotter: &Snapshotter, mut queue: mpsc::Receiver<Piece>, expected: Option<&Digest>) -> Result<BlobStat, WorkError> {
    let step = "store a download";
    let mut blob = snapshotter.session().blob_writer().map_err(|source| WorkError::Store { step, source })?;
    loop {
        match queue.blocking_recv() {
            Some(Piece::Chunk(bytes)) => blob.write_all(&bytes).map_err(|source| WorkError::State { step, source })?,
            Some(Piece::End) => return blob.finish(expected).map_err(|source| WorkError::Store { step, source }),
            None => return Err(WorkError::Cancelled),
        }
    }
}

/// What an earlier build noted, if its content is still stored; it is leased then.
fn recall(snapshotter: &Snapshotter, url: &str) -> Result<Option<Note>, WorkError> {
    let failed = |source| WorkError::Store { step: "look up a download", source };
    let Some(value) = snapshotter.store().get_value(NOTES, url.as_bytes()).map_err(failed)? else { return Ok(None) };
    // What cannot be read is of another version, and is replaced.
    let Ok(note) = serde_json::from_slice::<Note>(&value) else { return Ok(None) };
    let leased = snapshotter.session().lease(&Resource::Blob(note.blob.clone())).map_err(failed)?;
    let is_there = leased && snapshotter.store().open_blob(&note.blob).map_err(failed)?.is_some();
    Ok(is_there.then_some(note))
}

fn remember(snapshotter: &Snapshotter, url: &str, note: &Note) -> Result<(), WorkError> {
    let value = serde_json::to_vec(note).map_err(|error| WorkError::Internal(error.to_string()))?;
    let set = snapshotter.store().set_value(NOTES, url.as_bytes(), &value);
    set.map_err(|source| WorkError::Store { step: "note a download", source })
}

fn failed(source: &HttpSource, error: HttpError) -> WorkError {
    if let HttpError::Status { url, code } = error {
        return WorkError::Status { url, code };
    }
    WorkError::Fetch { url: shown_url(&source.url), source: error }
}

fn mismatch(source: &HttpSource, expected: Digest, actual: Digest) -> WorkError {
    WorkError::Checksum { url: shown_url(&source.url), expected, actual }
}

/// A URL without what may be secret in it: user, query and fragment.
fn shown_url(url: &str) -> String {
    let Ok(mut url) = url::Url::parse(url) else { return url.split(['?', '#']).next().unwrap_or_default().to_owned() };
    // Only URLs that cannot have them refuse these.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
