//! The overlay driver: a snapshot's directory has its changes alone, in the form of an overlay's upper directory.
//!
//! On disk, `snapshots/<id>/`:
//! ```text
//! fs/      the changes: whiteouts are 0:0 character devices, opaque directories have trusted. or user.overlay.opaque=y
//! merged/  in every hundredth snapshot of a deep chain: the changes of the hundred snapshots up to this one, see `Depth`
//! ```

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rbuild_fs::mount::{MountFlags, open_tree_clone, set_flags};
use rbuild_fs::{MountSource, Root};

use crate::changes::{Diff, Form};
use crate::error::{Result, SnapshotError, on};
use crate::merge::lay_over;
use crate::overlay_mount::OverlayMount;
use crate::state::{States, ViewCache};
use crate::xattrs::Flavour;
use crate::{ActiveSnapshot, Change, Snapshot, SnapshotDriver, SnapshotWriter, View, at};

/// How chains deeper than the kernel's 500 layers are mounted: the lowest `kept` snapshots (a base image and the first steps) as they are, above
/// them every full `segment` merged into one directory, and the rest as it is. Each change is copied once at most, so costs stay
/// linear; the base is never copied.
#[derive(Clone, Copy, Debug)]
struct Depth {
    /// Chains up to this depth are mounted as they are.
    plain: usize,
    kept: usize,
    segment: usize,
    /// Most layers of one mount.
    most: usize,
}

const DEPTH: Depth = Depth { plain: 400, kept: 200, segment: 100, most: 480 };

/// Directories to mount, as positions in a chain (1 is the base): the uppermost first.
#[derive(Debug, PartialEq, Eq)]
enum Layer {
    Single(usize),
    /// The segment that ends here.
    Merged(usize),
}

impl Depth {
    /// `None` when even the merged chain is too deep.
    fn layers(self, depth: usize) -> Option<Vec<Layer>> {
        let segments = if depth <= self.plain { 0 } else { (depth - self.kept) / self.segment };
        let merged_up_to = self.kept + segments * self.segment;
        let singles = if segments == 0 { 0..0 } else { merged_up_to..depth };
        let lowest = if segments == 0 { depth } else { self.kept };
        let layers: Vec<Layer> = singles
            .rev()
            .map(|below| Layer::Single(below + 1))
            .chain((1..=segments).rev().map(|segment| Layer::Merged(self.kept + segment * self.segment)))
            .chain((1..=lowest).rev().map(Layer::Single))
            .collect();
        (layers.len() <= self.most).then_some(layers)
    }

    fn deepest(self) -> usize {
        self.kept + (self.most - self.kept - self.segment + 1) * self.segment
    }
}

pub(crate) struct OverlayDriver {
    states: States,
    flavour: Flavour,
    views: ViewCache,
}

impl OverlayDriver {
    pub(crate) fn new(states: States, flavour: Flavour) -> OverlayDriver {
        OverlayDriver { states, flavour, views: ViewCache::default() }
    }

    /// The directories of a state's layers, the uppermost first.
    fn layers(&self, snapshot: &Snapshot) -> Result<Vec<PathBuf>> {
        let chain: Vec<&Snapshot> = snapshot.chain().collect();
        let at_position = |position: usize| chain[chain.len() - position];
        let layers = DEPTH.layers(chain.len()).ok_or(SnapshotError::TooDeep { depth: chain.len(), limit: DEPTH.deepest() })?;
        let directory = |layer| match layer {
            Layer::Single(position) => Ok(self.states.tree_path(&at_position(position).id)),
            Layer::Merged(end) => self.merged(&(end + 1 - DEPTH.segment..=end).map(at_position).collect::<Vec<_>>()),
        };
        layers.into_iter().map(directory).collect()
    }

    /// The merged changes of a segment, the lowest first: made once, kept beside the uppermost one's own changes, and gone with them.
    fn merged(&self, segment: &[&Snapshot]) -> Result<PathBuf> {
        let top = segment.last().expect("a segment is not empty");
        let place = self.states.store.snapshot_dir(&top.id).join("merged");
        if place.try_exists().map_err(on("look for", &place))? {
            return Ok(place);
        }
        let staged = ActiveSnapshot::create(&self.states.session, None, None)?;
        for snapshot in segment {
            lay_over(self.states.open_tree(&snapshot.id)?.as_fd(), staged.tree(), Some(self.flavour))?;
        }
        // The snapshot's row may count as durable already, so this must be on disk before it can be seen.
        rustix::fs::syncfs(staged.tree()).map_err(on("sync", &place))?;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(rustix::fs::CWD, staged.tree_path(), rustix::fs::CWD, &place, flags) {
            // Somebody else merged the same meanwhile.
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(place),
            Err(error) => Err(on("place", &place)(error)),
        }
    }

    fn mount_view(&self, snapshot: &Snapshot) -> Result<View> {
        let layers = self.layers(snapshot)?;
        let fd = match &*layers {
            [only] => at::open_path(only).map_err(on("open the snapshot", only))?,
            lower => OverlayMount { flavour: self.flavour, lower, upper: None }.mount()?,
        };
        Ok(View::new(Root::from_fd(fd)))
    }
}

impl SnapshotDriver for OverlayDriver {
    fn name(&self) -> &'static str {
        match self.flavour {
            Flavour::Trusted => "overlay",
            Flavour::User => "overlay-userxattr",
        }
    }

    fn prepare(&self, parent: Option<&Snapshot>) -> Result<ActiveSnapshot> {
        let below = parent.map(|parent| self.states.open_tree(&parent.id)).transpose()?;
        ActiveSnapshot::create(&self.states.session, parent, below.as_ref().map(AsFd::as_fd))
    }

    fn writer(&self, active: &ActiveSnapshot) -> Result<SnapshotWriter> {
        let view = active.parent().map(|parent| self.view(parent)).transpose()?;
        SnapshotWriter::over(active, view, self.flavour)
    }

    /// Also a state without parents is an overlay, over an empty directory: the kernel then refuses planted whiteouts.
    fn mount(&self, active: &ActiveSnapshot) -> Result<MountSource> {
        let make = |name: String| {
            let path = active.staging().join(name);
            fs_err::create_dir(&path).map_err(on("make", &path)).map(|()| path)
        };
        let mount = active.next_mount();
        let work = make(format!("work-{mount}"))?;
        let lower = match active.parent() {
            Some(parent) => self.layers(parent)?,
            None => vec![make(format!("empty-{mount}"))?],
        };
        let upper = active.tree_path();
        let mount = OverlayMount { flavour: self.flavour, lower: &lower, upper: Some((&upper, &work)) };
        Ok(MountSource::Detached(mount.mount()?))
    }

    fn mount_readonly(&self, snapshot: &Snapshot) -> Result<MountSource> {
        match &*self.layers(snapshot)? {
            [only] => clone_readonly(only),
            lower => Ok(MountSource::Detached(OverlayMount { flavour: self.flavour, lower, upper: None }.mount()?)),
        }
    }

    fn view(&self, snapshot: &Snapshot) -> Result<Arc<View>> {
        self.views.get(&snapshot.id, || self.mount_view(snapshot))
    }

    fn changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>> {
        let upper = self.states.open_tree(&snapshot.id)?;
        let parent = snapshot.parent.as_deref().map(|parent| self.view(parent)).transpose()?;
        Diff { upper: upper.as_fd(), lower: parent.as_ref().map(|view| view.root().fd()), form: Form::Overlay(self.flavour) }
            .changes()
    }

    fn commit(&self, active: ActiveSnapshot, description: &str) -> Result<Snapshot> {
        self.states.commit(active, description)
    }
}

/// A directory as a read-only mount.
pub(crate) fn clone_readonly(path: &Path) -> Result<MountSource> {
    let failed = |source| SnapshotError::Mount { what: "a snapshot's directory", log: String::new(), source };
    let mount = open_tree_clone(path, false).map_err(failed)?;
    set_flags(mount.as_fd(), MountFlags { readonly: true, ..MountFlags::default() }, false).map_err(failed)?;
    Ok(MountSource::Detached(mount))
}

#[cfg(test)]
mod tests {
    use super::{Depth, Layer};

    const SMALL: Depth = Depth { plain: 6, kept: 2, segment: 3, most: 7 };

    #[test]
    fn layers_of_a_chain() {
        let check = |depth: usize, expected: Option<&str>| {
            let shown = SMALL.layers(depth).map(|layers| {
                let shown = layers.iter().map(|layer| match layer {
                    Layer::Single(position) => format!("{position}"),
                    Layer::Merged(end) => format!("..{end}"),
                });
                shown.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(shown.as_deref(), expected, "depth {depth}");
        };
        check(1, Some("1"));
        check(6, Some("6 5 4 3 2 1"));
        check(7, Some("7 6 ..5 2 1"));
        check(8, Some("..8 ..5 2 1"));
        check(10, Some("10 9 ..8 ..5 2 1"));
        check(13, Some("13 12 ..11 ..8 ..5 2 1"));
        check(14, Some("..14 ..11 ..8 ..5 2 1"));
        check(15, Some("15 ..14 ..11 ..8 ..5 2 1"));
        check(16, None);
        assert!((1..=SMALL.deepest()).all(|depth| SMALL.layers(depth).is_some()));
    }
}
