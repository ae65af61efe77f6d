//! File-system states: how they are stored, changed, viewed, compared, and turned into layers and back.
//!
//! ```text
//! Snapshotter ─prepare→ ActiveSnapshot ─writer | mount | apply→ … ─commit→ Snapshot ─changes→ layer tar
//! ```
//! A [`Snapshot`] is a directory of the store. The overlay driver keeps in it what differs from the parent, the copy driver the whole tree.
//! Nothing here follows a path of an image by joining strings: all work is relative to directory descriptors.
//!
//! Minimum kernel of the overlay driver is 6.8 (`lowerdir+`); on older ones the probe finds that it does not work, and states are copied.

mod apply;
mod at;
mod changes;
mod copy;
mod driver;
mod error;
mod front;
mod inode;
mod layer;
mod merge;
mod overlay;
mod overlay_mount;
mod probe;
mod snapshot;
mod state;
mod times;
mod unpack;
mod writer;
mod xattrs;

pub use driver::{Change, ChangeKind, DriverChoice, SnapshotDriver};
pub use error::{Result, SnapshotError};
pub use front::Snapshotter;
pub use snapshot::{ActiveSnapshot, Snapshot, View};
pub use times::TimePolicy;
pub use unpack::{OpenBlob, UnpackError, unpack_layers};
pub use writer::{Attrs, EntryKind, EntryStat, SnapshotWriter};
