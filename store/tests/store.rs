//! One process and its store: what is stored is found, what is wrong never becomes visible, what is not needed goes.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod fixture;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fixture::{diff_id, exists, image, open, open_in_boot, snapshot};
use rbuild_oci::{ChainId, Digest, MediaType, Reference};
use rbuild_store::{LayerKey, LayerRow, PruneOptions, RecordLink, Resource, SnapshotId, Store, StoreError, UsageKind};

const ALL: PruneOptions = PruneOptions { all: true };

fn prune(store: &Store) {
    store.prune(&PruneOptions::default()).unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_directory_is_made_once_and_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b");
    assert_eq!(open(&root).driver(), "copy");
    let again = Store::open(&root, fixture::clock(), &|_| Err(io::Error::other("asked again"))).unwrap();
    assert_eq!(again.driver(), "copy");
    assert_eq!(again.root(), root);
}

#[test]
fn a_foreign_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("thesis.tex"), b"").unwrap();
    let error = Store::open(dir.path(), fixture::clock(), &|_| Ok("copy".to_owned())).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs_err::write(dir.path().join("format"), "rbuild state directory\nversion 9\n").unwrap();
    let error = Store::open(dir.path(), fixture::clock(), &|_| Ok("copy".to_owned())).unwrap_err();
    assert!(error.to_string().ends_with("version 9, this rbuild knows 1"), "{error}");
}

#[test]
fn a_database_of_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let database = rusqlite::Connection::open(dir.path().join("db.sqlite")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let error = Store::open(dir.path(), fixture::clock(), &|_| Ok("copy".to_owned())).unwrap_err();
    assert!(error.to_string().ends_with("database version 99, this rbuild knows 1"), "{error}");
}

#[test]
fn opening_never_makes_a_directory_when_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open_existing(&dir.path().join("none"), fixture::clock()).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(files(dir.path()).is_empty());
}

#[test]
fn a_blob_is_found_by_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let stat = session.put_blob(b"hello").unwrap();
    assert_eq!(stat.digest, Digest::of(b"hello"));
    assert_eq!(store.read_blob(&stat.digest, 5).unwrap().unwrap(), b"hello");
    assert!(matches!(store.read_blob(&stat.digest, 4).unwrap_err(), StoreError::TooLarge { size: 5, limit: 4, .. }));
    assert_eq!(session.put_blob(b"hello").unwrap(), stat);
    assert!(!store.has_blob(&Digest::of(b"other")).unwrap());
    assert_eq!(store.diff_id(&stat.digest).unwrap(), None);
    store.set_diff_id(&stat.digest, &diff_id(&stat.digest)).unwrap();
    assert_eq!(store.diff_id(&stat.digest).unwrap(), Some(diff_id(&stat.digest)));
}

#[test]
fn a_blob_with_the_wrong_digest_stays_invisible() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let mut writer = session.blob_writer().unwrap();
    writer.write_all(b"tampered").unwrap();
    let error = writer.finish(Some(&Digest::of(b"genuine"))).unwrap_err();
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error}");
    assert!(!store.has_blob(&Digest::of(b"tampered")).unwrap());
    assert!(files(&dir.path().join("blobs/sha256")).is_empty());
}

#[test]
fn a_file_without_a_row_is_replaced_and_one_that_was_deleted_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let digest = Digest::of(b"hello");
    let path = dir.path().join("blobs/sha256").join(digest.hex());
    fs_err::write(&path, b"").unwrap();
    assert!(!store.has_blob(&digest).unwrap());
    session.put_blob(b"hello").unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), b"hello");
    fs_err::remove_file(&path).unwrap();
    assert!(store.open_blob(&digest).unwrap().is_none());
    session.put_blob(b"hello").unwrap();
    assert!(store.open_blob(&digest).unwrap().is_some());
}

#[test]
fn snapshots_have_parents_and_chains() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let base = snapshot(&store, &session, None);
    let top = snapshot(&store, &session, Some(&base));
    assert_eq!(store.acquire_snapshot(&session, &top.id).unwrap().unwrap(), [top.clone(), base.clone()]);
    let chain = ChainId(Digest::of(b"chain"));
    assert_eq!(store.acquire_chain(&session, &chain).unwrap(), None);
    store.set_chain(&chain, &top.id).unwrap();
    assert_eq!(store.acquire_chain(&session, &chain).unwrap().unwrap().len(), 2);
    assert!(store.set_chain(&chain, &SnapshotId("none".to_owned())).is_err());
    assert!(!session.lease(&Resource::Snapshot(SnapshotId("none".to_owned()))).unwrap());
}

#[test]
fn a_snapshot_needs_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let staged = session.staging_dir().unwrap();
    let mut row = snapshot(&store, &session, None);
    row.parent = Some(SnapshotId("gone".to_owned()));
    row.id = session.new_snapshot_id();
    let error = store.commit_snapshot(&session, &row, &staged).unwrap_err();
    assert!(matches!(error, StoreError::Missing { what: "snapshot", .. }), "{error}");
    assert!(!exists(&store, &row.id));
}

#[test]
fn layers_are_found_by_key_and_by_blob() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let snapshot = snapshot(&store, &session, None);
    let key =
        LayerKey { snapshot: snapshot.id, time_policy: "clamp:7".to_owned(), codec: "zstd".to_owned(), level: -3, format: 1 };
    let blob = Digest::of(b"blob");
    let row =
        LayerRow { diff_id: diff_id(&Digest::of(b"diff")), blob: blob.clone(), size: 9, media_type: MediaType::OciLayerZstd };
    assert_eq!(store.layer(&key).unwrap(), None);
    store.set_layer(&key, &row).unwrap();
    assert_eq!(store.layer(&key).unwrap(), Some(row.clone()));
    assert_eq!(store.layer_by_blob(&blob).unwrap(), Some((key, row)));
}

#[test]
fn records_are_followed_through_links() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let link = |parent: u8, selector: Option<u8>| RecordLink {
        parent: [parent; 32],
        input: 0,
        output: 1,
        op: [9; 32],
        selector: selector.map(|byte| [byte; 32]),
    };
    store.record_link(&[7; 32], &[link(1, None), link(2, Some(5))]).unwrap();
    store.record_link(&[7; 32], &[link(1, None)]).unwrap();
    let check = |links: &[RecordLink], children: &[[u8; 32]]| assert_eq!(store.record_children(links).unwrap(), children);
    check(&[link(1, None)], &[[7; 32]]);
    check(&[link(1, None), link(2, Some(5))], &[[7; 32]]);
    check(&[link(2, None)], &[]);
    let snapshot = snapshot(&store, &session, None);
    store.record_save(&session, &[7; 32], "old", None, 1).unwrap();
    store.record_save(&session, &[7; 32], "new", Some(&snapshot.id), 2).unwrap();
    assert_eq!(store.record_results(&[7; 32]).unwrap(), [("new".to_owned(), 2), ("old".to_owned(), 1)]);
    store.record_forget(&[7; 32], "new").unwrap();
    assert_eq!(store.record_results(&[7; 32]).unwrap(), [("old".to_owned(), 1)]);
    let gone = SnapshotId("gone".to_owned());
    assert!(store.record_save(&session, &[7; 32], "x", Some(&gone), 3).is_err());
}

#[test]
fn small_values_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.get_value("url", b"k").unwrap(), None);
    store.set_value("url", b"k", b"v").unwrap();
    assert_eq!(store.get_value("url", b"k").unwrap().unwrap(), b"v");
    assert_eq!(store.get_value("other", b"k").unwrap(), None);
    let id = SnapshotId("s".to_owned());
    assert_eq!(store.selection(&id, &[1; 32]).unwrap(), None);
    store.set_selection(&id, &[1; 32], &[2; 32]).unwrap();
    assert_eq!(store.selection(&id, &[1; 32]).unwrap(), Some([2; 32]));
}

#[test]
fn names_become_paths_inside_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["../../etc/passwd", "", ".", "..", "a/b", &"x".repeat(400)] {
        assert_eq!(store.log_path(name).parent().unwrap(), dir.path().join("logs"), "{name}");
        assert!(store.try_lock(name).unwrap().is_some(), "{name}");
        assert_eq!(store.cache_mount_dir(name).unwrap().parent().unwrap(), dir.path().join("cache"), "{name}");
    }
    assert_eq!(store.log_path("abc-1.log"), dir.path().join("logs/abc-1.log"));
    assert!(files(&dir.path().join("locks")).is_empty());
}

#[test]
fn one_thread_has_a_lock() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let lock = store.lock("key").unwrap();
    assert!(store.try_lock("key").unwrap().is_none());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let sender = sender.clone();
            let store = &store;
            scope.spawn(move || {
                let _lock = store.lock("key").unwrap();
                sender.send("in").unwrap();
                sender.send("out").unwrap();
            });
        }
        drop(lock);
    });
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), ["in", "out"].repeat(4));
}

#[test]
fn an_image_keeps_what_it_reaches() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let (manifest, config, layer) = image(&session, b"layer");
    let unpacked = snapshot(&store, &session, None);
    store.set_chain(&ChainId(layer.clone()), &unpacked.id).unwrap();
    let stray = session.put_blob(b"stray").unwrap().digest;
    let name: Reference = "app".parse().unwrap();
    store.tag(&session, Some(&name), &manifest).unwrap();
    drop(session);

    store.prune(&ALL).unwrap();
    assert!([&manifest, &config, &layer].iter().all(|digest| store.has_blob(digest).unwrap()));
    assert!(exists(&store, &unpacked.id));
    assert!(!store.has_blob(&stray).unwrap());

    let session = store.session().unwrap();
    assert_eq!(store.resolve(&session, &name).unwrap().unwrap().manifest, manifest);
    assert!(store.untag(&name).unwrap());
    assert_eq!(store.images().unwrap()[0].reference, None);
    store.prune(&ALL).unwrap();
    assert!(store.has_blob(&layer).unwrap(), "resolved and leased");
    drop(session);
    prune(&store);
    assert!(store.images().unwrap().is_empty());
    assert!(!store.has_blob(&layer).unwrap());
    assert!(!exists(&store, &unpacked.id));
    assert!(files(&dir.path().join("blobs/sha256")).is_empty());
    assert!(files(&dir.path().join("trash")).is_empty());
}

#[test]
fn the_last_tag_wins_and_the_old_image_dangles() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let name: Reference = "app".parse().unwrap();
    let (old, ..) = image(&session, b"old");
    let (new, ..) = image(&session, b"new");
    store.tag(&session, Some(&name), &old).unwrap();
    store.tag(&session, Some(&name), &new).unwrap();
    let images: Vec<_> = store.images().unwrap().into_iter().map(|row| (row.reference.is_some(), row.manifest)).collect();
    assert_eq!(images, [(true, new.clone()), (false, old.clone())]);
    assert!(store.remove_image(&new).unwrap());
    assert!(!store.remove_image(&new).unwrap());
    assert!(store.tag(&session, Some(&name), &Digest::of(b"none")).is_err());
}

#[test]
fn a_layer_that_is_not_stored_keeps_its_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let made = snapshot(&store, &session, None);
    let layer = Digest::of(b"made on demand");
    let key =
        LayerKey { snapshot: made.id.clone(), time_policy: "keep".to_owned(), codec: "none".to_owned(), level: 0, format: 1 };
    let row = LayerRow { diff_id: diff_id(&layer), blob: layer.clone(), size: 1, media_type: MediaType::OciLayer };
    store.set_layer(&key, &row).unwrap();
    let manifest = serde_json::json!({ "layers": [{ "digest": layer.to_string() }] });
    let manifest = session.put_blob(manifest.to_string().as_bytes()).unwrap().digest;
    store.tag(&session, Some(&"app".parse().unwrap()), &manifest).unwrap();
    drop(session);
    store.prune(&ALL).unwrap();
    assert!(exists(&store, &made.id));
    assert!(store.layer(&key).unwrap().is_some());
}

#[test]
fn prune_keeps_the_cache_and_prune_all_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let base = snapshot(&store, &session, None);
    let step = snapshot(&store, &session, Some(&base));
    let file = session.put_blob(b"downloaded").unwrap().digest;
    let link = RecordLink { parent: [1; 32], input: 0, output: 0, op: [2; 32], selector: None };
    let useless = RecordLink { op: [3; 32], ..link.clone() };
    store.record_link(&[4; 32], std::slice::from_ref(&link)).unwrap();
    store.record_link(&[5; 32], std::slice::from_ref(&useless)).unwrap();
    store.record_save(&session, &[4; 32], "step", Some(&step.id), 1).unwrap();
    store.record_save_blob(&session, &[4; 32], "file", &file, 1).unwrap();
    let stray = snapshot(&store, &session, Some(&base));
    drop(session);

    prune(&store);
    assert!(exists(&store, &base.id) && exists(&store, &step.id) && store.has_blob(&file).unwrap());
    assert!(!exists(&store, &stray.id));
    assert_eq!(store.record_children(&[link.clone(), useless]).unwrap(), [[4; 32]]);

    let report = store.prune(&ALL).unwrap();
    assert!(!exists(&store, &base.id) && !exists(&store, &step.id) && !store.has_blob(&file).unwrap());
    assert_eq!(store.record_results(&[4; 32]).unwrap(), []);
    assert_eq!(store.record_children(&[link]).unwrap(), Vec::<[u8; 32]>::new());
    assert_eq!(report.reclaimed, 2 * 4096 + 10);
}

#[test]
fn a_living_session_keeps_what_it_leases() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let other = open(dir.path());
    let session = store.session().unwrap();
    let blob = session.put_blob(b"leased").unwrap().digest;
    let base = snapshot(&store, &session, None);
    let top = snapshot(&store, &session, Some(&base));
    let (manifest, _, layer) = image(&session, b"untagged");
    store.tag(&session, None, &manifest).unwrap();
    other.prune(&ALL).unwrap();
    assert!(store.has_blob(&blob).unwrap() && store.has_blob(&layer).unwrap());
    assert!(exists(&store, &base.id) && exists(&store, &top.id));
    let staged = session.staging_dir().unwrap();
    other.prune(&ALL).unwrap();
    assert!(staged.exists());
    drop(session);
    assert!(!staged.exists());
    other.prune(&ALL).unwrap();
    assert!(!store.has_blob(&blob).unwrap() && !exists(&store, &base.id));
}

#[test]
fn another_boot_drops_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in_boot(dir.path(), "first");
    let session = store.session().unwrap();
    let (safe, ..) = image(&session, b"safe");
    store.tag(&session, Some(&"safe".parse().unwrap()), &safe).unwrap();
    let base = snapshot(&store, &session, None);
    assert!(store.has_volatile().unwrap());
    store.make_durable().unwrap();
    assert!(!store.has_volatile().unwrap());
    let (lost, ..) = image(&session, b"lost");
    store.tag(&session, Some(&"lost".parse().unwrap()), &lost).unwrap();
    let step = snapshot(&store, &session, Some(&base));
    store.record_save(&session, &[1; 32], "step", Some(&step.id), 1).unwrap();
    drop(session);

    assert!(open_in_boot(dir.path(), "first").has_blob(&lost).unwrap());
    let store = open_in_boot(dir.path(), "second");
    assert!(store.has_blob(&safe).unwrap() && store.snapshot(&base.id).unwrap().is_some());
    assert!(!store.has_blob(&lost).unwrap() && store.snapshot(&step.id).unwrap().is_none());
    assert_eq!(store.record_results(&[1; 32]).unwrap(), []);
    let names: Vec<_> = store.images().unwrap().into_iter().map(|row| row.reference.unwrap().familiar()).collect();
    assert_eq!(names, ["safe:latest"]);
    prune(&store);
    assert!(!store.snapshot_dir(&step.id).exists(), "its files are garbage now");
}

#[test]
fn a_long_log_is_written_back_when_syncing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..400_u32 {
        store.set_value("n", &number.to_le_bytes(), &[7; 2000]).unwrap();
    }
    assert!(store.wants_sync().unwrap());
    store.make_durable().unwrap();
    assert!(!store.wants_sync().unwrap());
    drop(store);
    let store = open(dir.path());
    assert!(store.get_value("n", &399_u32.to_le_bytes()).unwrap().is_some());
}

#[test]
fn a_snapshot_on_a_lost_parent_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in_boot(dir.path(), "first");
    let session = store.session().unwrap();
    let base = snapshot(&store, &session, None);
    drop(session);
    let store = open_in_boot(dir.path(), "second");
    let session = store.session().unwrap();
    assert_eq!(store.acquire_snapshot(&session, &base.id).unwrap(), None);
}

#[test]
fn cache_mounts_go_when_nobody_uses_any() {
    let dir = tempfile::tempdir().unwrap();
    let user = open(dir.path());
    let mount = user.cache_mount_dir("id").unwrap();
    fs_err::write(mount.join("package"), b"x").unwrap();
    let store = open(dir.path());
    prune(&store);
    store.prune(&ALL).unwrap();
    assert!(mount.join("package").exists());
    drop(user);
    store.prune(&ALL).unwrap();
    assert!(!mount.exists());
}

#[test]
fn usage_says_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let session = store.session().unwrap();
    let (manifest, ..) = image(&session, b"layer");
    store.tag(&session, Some(&"app".parse().unwrap()), &manifest).unwrap();
    let step = snapshot(&store, &session, None);
    store.record_save(&session, &[1; 32], "step", Some(&step.id), 1).unwrap();
    fs_err::write(store.log_path("one"), b"output").unwrap();
    drop(session);
    let usage = store.usage().unwrap();
    let of = |kind| usage.iter().filter(move |usage| usage.kind == kind).collect::<Vec<_>>();
    assert_eq!(of(UsageKind::Blob).len(), 3);
    assert!(of(UsageKind::Blob).iter().all(|usage| usage.in_use && !usage.shared));
    assert_eq!(of(UsageKind::Snapshot).len(), 1);
    assert!(!of(UsageKind::Snapshot)[0].in_use);
    assert_eq!(of(UsageKind::Log)[0].id, "one");
    assert_eq!(of(UsageKind::Garbage), Vec::<&rbuild_store::Usage>::new());
}

/// A tmpfs of a given size, unmounted at the end.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> SmallDisk {
        use rustix::mount::{MountFlags, mount};
        let dir = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        mount("rbuild-test", dir.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        SmallDisk { dir }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_prune_works_on_it() {
    let disk = SmallDisk::new("4m");
    let store = open(disk.dir.path());
    let kept = {
        let session = store.session().unwrap();
        let (manifest, _, layer) = image(&session, b"kept");
        store.tag(&session, Some(&"kept".parse().unwrap()), &manifest).unwrap();
        layer
    };
    let session = store.session().unwrap();
    let chunk = [7_u8; 1 << 16];
    let mut number = 0_u32;
    let error = loop {
        number += 1;
        let written = session.blob_writer().and_then(|mut writer| {
            let write = |writer: &mut rbuild_store::BlobWriter| {
                writer.write_all(&number.to_le_bytes())?;
                writer.write_all(&chunk)?;
                writer.flush()
            };
            write(&mut writer).map_err(|source| StoreError::Io { step: "write", path: PathBuf::new(), source })?;
            writer.finish(None)
        });
        if let Err(error) = written {
            break error;
        }
    };
    assert!(error.is_full(), "{error:?}");
    assert!(error.hint().unwrap().contains("prune"));
    drop(session);
    store.prune(&ALL).unwrap();
    assert!(store.has_blob(&kept).unwrap());
    assert_eq!(files(&disk.dir.path().join("blobs/sha256")).len(), 3);
}
