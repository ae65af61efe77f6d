//! The state directory: blobs, snapshots' rows, images, cache records, sessions, leases and their collection.
//!
//! ```text
//! <root>/format              what wrote the directory: version, snapshot driver, journal mode; written last, so it means "complete"
//! <root>/db.sqlite           every row; only this crate opens it
//! <root>/blobs/sha256/<hex>  content, named by its digest
//! <root>/snapshots/<id>/     unpacked file-system states, laid out by the snapshotter
//! <root>/sessions/<id>/      one process: `lock` (held by flock while it lives) and its staging
//! <root>/locks/<name>        key locks in flight
//! <root>/reserve             room that the collector gives up when the disk is full
//! <root>/trash/              what the collector has unlinked from its place and not yet removed
//! <root>/cache.lock          shared by who uses cache mounts
//! <root>/cache/ contexts/ logs/   cache mounts, digest memos of context roots, kept output of steps
//! ```
//!
//! A file is moved into place inside the IMMEDIATE transaction that inserts its row, and the collector moves a file away only inside
//! an IMMEDIATE transaction that sees no row of it. So a row always has its file, and a file without a row is garbage.

mod blob;
mod collect;
mod database;
mod disk;
mod durable;
mod error;
mod image;
mod layer;
mod layout;
mod lock;
mod memo;
mod reach;
mod record;
mod session;
mod snapshot;
mod store;
mod usage;

pub use blob::{BlobStat, BlobWriter};
pub use collect::{PruneOptions, PruneReport};
pub use durable::BootId;
pub use error::{Result, StoreError};
pub use image::ImageRow;
pub use layer::{LayerKey, LayerRow};
pub use lock::KeyLock;
pub use record::RecordLink;
pub use session::{Resource, Session};
pub use snapshot::{SnapshotId, SnapshotRow};
pub use store::{Clock, Store};
pub use usage::{Usage, UsageKind};
