//! `type=tar`: the whole file system as one tar.

use rbuild_fs::archive::TarWriter;
use rbuild_snapshotter::{Snapshot, Snapshotter, TimePolicy};

use crate::error::{InStream, Result};
use crate::output::{Destination, write_to};

/// Writes the tree of a snapshot (`None`: the empty file system) as a tar. With an epoch all times are exactly that.
///
/// # Errors
/// When the snapshot cannot be read or the destination not be written; a file appears only when it is complete.
pub fn write_tar(snapshotter: &Snapshotter, snapshot: Option<&Snapshot>, to: &Destination, epoch: Option<i64>) -> Result<()> {
    let times = epoch.map_or(TimePolicy::Keep, TimePolicy::Exactly);
    write_to(snapshotter, to, |out| match snapshot {
        Some(snapshot) => Ok(snapshotter.write_tree(snapshot, &times, out)?),
        None => TarWriter::new(out).finish().stream(|| "write an empty tar".into()).map(drop),
    })
}
