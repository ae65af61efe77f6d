//! The solver's records in the state directory.

use std::sync::Arc;
use std::time::Duration;

use rbuild_oci::Digest;
use rbuild_solver::{Link, RecordError, RecordId, Records, ResultId, StoredResult};
use rbuild_store::{KeyLock, RecordLink, Session, SnapshotId, Store, StoreError};

/// First and longest time between two attempts to take a lock that another build holds.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(40));

/// Records of a state directory, with the session that leases results while they are saved.
pub struct StoreRecords {
    store: Store,
    session: Arc<Session>,
}

impl StoreRecords {
    /// The records of `store`.
    #[must_use]
    pub fn new(store: Store, session: Arc<Session>) -> StoreRecords {
        StoreRecords { store, session }
    }
}

impl Records for StoreRecords {
    type Lock = KeyLock;

    fn children(&self, links: &[Link]) -> Result<Vec<RecordId>, RecordError> {
        let links: Vec<RecordLink> = links.iter().map(stored_link).collect();
        let children = self.store.record_children(&links).reading()?;
        Ok(children.into_iter().map(RecordId).collect())
    }

    fn link(&self, child: RecordId, links: &[Link]) -> Result<(), RecordError> {
        let links: Vec<RecordLink> = links.iter().map(stored_link).collect();
        self.store.record_link(&child.0, &links).writing()
    }

    fn results(&self, record: RecordId) -> Result<Vec<StoredResult>, RecordError> {
        let results = self.store.record_results(&record.0).reading()?;
        Ok(results.into_iter().map(|(result, created)| StoredResult { result: ResultId(result), created }).collect())
    }

    fn save(&self, record: RecordId, result: &ResultId, created: i64) -> Result<(), RecordError> {
        let (record, name) = (&record.0, result.0.as_str());
        let saved = match kept(result) {
            Kept::Snapshot(id) => self.store.record_save(&self.session, record, name, Some(&id), created),
            Kept::Blob(digest) => self.store.record_save_blob(&self.session, record, name, &digest, created),
            Kept::Nothing => self.store.record_save(&self.session, record, name, None, created),
        };
        saved.writing()
    }

    fn forget(&self, record: RecordId, result: &ResultId) -> Result<(), RecordError> {
        self.store.record_forget(&record.0, &result.0).writing()
    }

    /// Asks again and again: a thread that waits in flock(2) could not be called back when the build is cancelled.
    async fn lock(&self, name: String) -> Result<KeyLock, RecordError> {
        let (mut pause, longest) = POLL;
        loop {
            let (store, name) = (self.store.clone(), name.clone());
            let attempt = tokio::task::spawn_blocking(move || store.try_lock(&name)).await;
            let attempt = attempt.map_err(|source| RecordError { action: "locked", source: Box::new(source) })?;
            if let Some(lock) = attempt.map_err(|source| RecordError { action: "locked", source: Box::new(source) })? {
                return Ok(lock);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// What a result keeps alive.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Snapshot(SnapshotId),
    Blob(Digest),
    Nothing,
}

/// Results are named by the worker: `snapshot:ID`, `blob:MTIME:DIGEST`, or anything that keeps nothing.
fn kept(result: &ResultId) -> Kept {
    match result.0.split_once(':') {
        Some(("snapshot", id)) => Kept::Snapshot(SnapshotId(id.to_owned())),
        Some(("blob", rest)) => {
            let digest = rest.split_once(':').and_then(|(_, digest)| digest.parse().ok());
            digest.map_or(Kept::Nothing, Kept::Blob)
        }
        Some(_) | None => Kept::Nothing,
    }
}

fn stored_link(link: &Link) -> RecordLink {
    let Link { parent, input, output, op, selector } = link;
    RecordLink { parent: parent.0, input: input.0, output: output.0, op: op.0, selector: selector.map(|selector| selector.0) }
}

trait Doing<T> {
    fn reading(self) -> Result<T, RecordError>;
    fn writing(self) -> Result<T, RecordError>;
}

impl<T> Doing<T> for Result<T, StoreError> {
    fn reading(self) -> Result<T, RecordError> {
        self.map_err(|source| RecordError { action: "read", source: Box::new(source) })
    }

    fn writing(self) -> Result<T, RecordError> {
        self.map_err(|source| RecordError { action: "written", source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_what_they_name() {
        let digest = Digest::of(b"x");
        let check = |name: &str, expected: Kept| assert_eq!(kept(&ResultId(name.into())), expected, "{name}");
        check("snapshot:abc", Kept::Snapshot(SnapshotId("abc".into())));
        check(&format!("blob:12:{digest}"), Kept::Blob(digest));
        check("blob:12:nonsense", Kept::Nothing);
        check("scratch", Kept::Nothing);
        check("later:thing", Kept::Nothing);
    }
}
