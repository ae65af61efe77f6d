//! The copy driver: a snapshot's directory has the whole tree, which begins as a copy of its parent's.
//!
//! For file systems that overlay cannot write on. On disk, `snapshots/<id>/`:
//! ```text
//! fs/     the whole tree
//! copied  when the copy of the parent was complete: `<seconds> <nanoseconds>` by the file system's clock. What has an older change time is
//!         as the parent has it, so that a diff reads nothing of it. Absent without a parent.
//! ```

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rbuild_fs::mount::open_tree_clone;
use rbuild_fs::{MountSource, Root, Stat};

use crate::changes::{Diff, Form};
use crate::error::{Result, SnapshotError, on};
use crate::merge::lay_over;
use crate::overlay::clone_readonly;
use crate::state::{States, ViewCache};
use crate::{ActiveSnapshot, Change, Snapshot, SnapshotDriver, SnapshotWriter, View};

pub(crate) struct CopyDriver {
    states: States,
    views: ViewCache,
}

impl CopyDriver {
    pub(crate) fn new(states: States) -> CopyDriver {
        CopyDriver { states, views: ViewCache::default() }
    }
}

impl SnapshotDriver for CopyDriver {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn prepare(&self, parent: Option<&Snapshot>) -> Result<ActiveSnapshot> {
        let Some(parent) = parent else { return ActiveSnapshot::create(&self.states.session, None, None) };
        let tree = self.states.open_tree(&parent.id)?;
        let active = ActiveSnapshot::create(&self.states.session, Some(parent), Some(tree.as_fd()))?;
        lay_over(tree.as_fd(), active.tree(), None)?;
        write_copied(&active.state_path().join("copied"))?;
        Ok(active)
    }

    fn writer(&self, active: &ActiveSnapshot) -> Result<SnapshotWriter> {
        SnapshotWriter::whole(active)
    }

    fn mount(&self, active: &ActiveSnapshot) -> Result<MountSource> {
        let mount = open_tree_clone(&active.tree_path(), false);
        let failed = |source| SnapshotError::Mount { what: "the new state's directory", log: String::new(), source };
        Ok(MountSource::Detached(mount.map_err(failed)?))
    }

    fn mount_readonly(&self, snapshot: &Snapshot) -> Result<MountSource> {
        clone_readonly(&self.states.tree_path(&snapshot.id))
    }

    fn view(&self, snapshot: &Snapshot) -> Result<Arc<View>> {
        self.views.get(&snapshot.id, || Ok(View::new(Root::from_fd(self.states.open_tree(&snapshot.id)?))))
    }

    fn changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>> {
        let tree = self.states.open_tree(&snapshot.id)?;
        let parent = snapshot.parent.as_deref().map(|parent| self.states.open_tree(&parent.id)).transpose()?;
        let copied = read_copied(&self.states.store.snapshot_dir(&snapshot.id).join("copied"));
        Diff { upper: tree.as_fd(), lower: parent.as_ref().map(AsFd::as_fd), form: Form::Whole { copied } }.changes()
    }

    fn commit(&self, active: ActiveSnapshot, description: &str) -> Result<Snapshot> {
        self.states.commit(active, description)
    }
}

fn write_copied(path: &Path) -> Result<()> {
    let failed = on::<std::io::Error>("write", path);
    let write = || {
        let file = fs_err::File::create(path)?;
        let (seconds, nanoseconds) = Stat::of(file.as_fd())?.ctime;
        fs_err::write(path, format!("{seconds} {nanoseconds}\n"))
    };
    write().map_err(failed)
}

/// Without a readable time, everything is compared.
fn read_copied(path: &Path) -> Option<(i64, u32)> {
    let text = fs_err::read_to_string(path).ok()?;
    let (seconds, nanoseconds) = text.trim_end().split_once(' ')?;
    Some((seconds.parse().ok()?, nanoseconds.parse().ok()?))
}
