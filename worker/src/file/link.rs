//! Laying an independent layer on a base (`COPY --link`): only names meet here, what was copied is not read from its source again.
//!
//! A directory that the base has keeps its metadata, and one that is a link to a directory there is followed (buildkit#4964, #3912); what
//! would replace a directory by something else is refused. Times and modes come from the layer, so that on every base with the
//! same directories the same layer is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rbuild_fs::Kind;
use rbuild_snapshotter::{EntryKind, Snapshot, Snapshotter};
use tokio_util::sync::CancellationToken;

use super::ActionStep;
use super::chmod::ModeChange;
use super::plan::{Change, Plan};
use crate::WorkError;
use crate::tree::Tree;

/// A state with the layer's tree over the base. Blocks.
pub(crate) fn link(
    snapshotter: &Snapshotter,
    base: &Snapshot,
    layer: &Snapshot,
    name: &str,
    cancel: &CancellationToken,
) -> Result<Snapshot, WorkError> {
    let failed = |step| move |source| WorkError::Snapshot { step, source };
    let tree = crate::worker::snapshot_tree(snapshotter, layer)?;
    let driver = snapshotter.driver();
    let active = driver.prepare(Some(base)).map_err(failed("prepared"))?;
    let writer = driver.writer(&active).map_err(failed("opened for writing"))?;
    let at = ActionStep { writer: &writer, cancel, now: snapshotter.store().now() };
    lay(&at, &tree)?;
    drop(writer);
    snapshotter.commit_linked(active, name).map_err(failed("committed"))
}

/// Where a directory of the layer goes.
struct Place {
    path: PathBuf,
    /// Nothing of the base is there.
    is_new: bool,
}

fn lay(at: &ActionStep<'_>, tree: &Tree) -> Result<(), WorkError> {
    let change = Change { owner: None, mode: ModeChange::Keep };
    let mut plan = Plan::new(tree, &change);
    let top = Place { path: PathBuf::from("/"), is_new: false };
    let mut places: HashMap<PathBuf, Place> = HashMap::from([(PathBuf::new(), top)]);
    for entry in tree.list(Path::new("/"))?.iter() {
        let (Some(above), Some(name)) = (entry.path.parent().and_then(|above| places.get(above)), entry.path.file_name()) else {
            return Err(WorkError::Internal("an entry before its directory".to_owned()));
        };
        let path = above.path.join(name);
        let there = if above.is_new { None } else { at.kind(&path)? };
        if entry.stat.kind == Kind::Dir {
            let place = directory(at, path, there)?;
            if place.is_new {
                plan.add(Path::new("/").join(&entry.path), place.path.clone(), entry.stat.clone())?;
            }
            places.insert(entry.path.clone(), place);
        } else if there == Some(EntryKind::Dir) {
            return Err(WorkError::ReplaceDirectory(path));
        } else {
            plan.add(Path::new("/").join(&entry.path), path, entry.stat.clone())?;
        }
    }
    plan.run(at)
}

fn directory(at: &ActionStep<'_>, path: PathBuf, there: Option<EntryKind>) -> Result<Place, WorkError> {
    match there {
        None => Ok(Place { path, is_new: true }),
        Some(EntryKind::Dir) => Ok(Place { path, is_new: false }),
        Some(_) => {
            let behind = at.writer.resolve(&path, true).map_err(super::make::failed("resolve", &path))?;
            match at.kind(&behind)? {
                Some(EntryKind::Dir) => Ok(Place { path: behind, is_new: false }),
                Some(_) | None => Err(WorkError::NonDirectory(path)),
            }
        }
    }
}
