//! Several processes on one store. This program starts itself as the peers; it has its own `main` for that.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
#![allow(clippy::print_stdout, reason = "this program is its own test runner")]

mod fixture;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use fixture::{exists, open, snapshot};
use rbuild_oci::Digest;
use rbuild_store::{PruneOptions, RecordLink, Resource, SnapshotId, Store};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, role, root] = &arguments[..]
        && flag == "--peer"
    {
        return peer(role, Path::new(root));
    }
    for (name, test) in TESTS {
        test();
        println!("test {name} ... ok");
    }
}

const TESTS: [(&str, fn()); 5] = [
    ("two_processes_may_make_the_directory", two_processes_may_make_the_directory),
    ("four_processes_write_at_once", four_processes_write_at_once),
    ("leases_of_a_killed_process_die", leases_of_a_killed_process_die),
    ("a_process_killed_in_a_blob_leaves_nothing_visible", a_process_killed_in_a_blob_leaves_nothing_visible),
    ("a_lock_dies_with_its_process", a_lock_dies_with_its_process),
];

/// Another process that does what its role says, speaks in lines and waits for a line.
struct Peer {
    child: Child,
    _input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(role: &str, root: &Path) -> Peer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--peer", role])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Peer { child, _input: input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn finish(mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Returns when the parent closes the pipe or a signal ends the process.
fn wait() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn peer(role: &str, root: &Path) {
    match role {
        "open" => drop(open(root)),
        "write" => write_much(&open(root)),
        "lease" => lease_and_wait(&open(root)),
        "half-a-blob" => half_a_blob(&open(root)),
        "lock" => {
            let store = open(root);
            let _lock = store.lock("key").unwrap();
            say("locked");
            wait();
        }
        other => panic!("no role {other}"),
    }
}

fn write_much(store: &Store) {
    let session = store.session().unwrap();
    for number in 0..200_u32 {
        session.put_blob(format!("blob {number}").as_bytes()).unwrap();
        let record = *blake3::hash(&number.to_le_bytes()).as_bytes();
        let link = RecordLink { parent: [0; 32], input: number, output: 0, op: [1; 32], selector: None };
        store.record_link(&record, &[link]).unwrap();
        store.record_save(&session, &record, "shared", None, 1).unwrap();
        if number % 50 == 0 {
            let own = snapshot(store, &session, None);
            store.record_save(&session, &record, &own.id.0, Some(&own.id), 1).unwrap();
            store.prune(&PruneOptions::default()).unwrap();
        }
    }
    for number in 0..200_u32 {
        assert!(store.has_blob(&Digest::of(format!("blob {number}").as_bytes())).unwrap(), "leased by this session");
    }
}

fn lease_and_wait(store: &Store) {
    let session = store.session().unwrap();
    let blob = session.put_blob(b"leased").unwrap();
    assert!(session.lease(&Resource::Blob(blob.digest)).unwrap());
    let row = snapshot(store, &session, None);
    session.staging_dir().unwrap();
    say(&row.id.0);
    wait();
}

fn half_a_blob(store: &Store) {
    let session = store.session().unwrap();
    let mut writer = session.blob_writer().unwrap();
    writer.write_all(b"half").unwrap();
    writer.flush().unwrap();
    say("written");
    wait();
    drop(writer);
}

fn two_processes_may_make_the_directory() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let peers: Vec<Peer> = (0..4).map(|_| Peer::start("open", dir.path())).collect();
        peers.into_iter().for_each(Peer::finish);
        assert_eq!(open(dir.path()).driver(), "copy");
    }
}

fn four_processes_write_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let peers: Vec<Peer> = (0..4).map(|_| Peer::start("write", dir.path())).collect();
    peers.into_iter().for_each(Peer::finish);
    let store = open(dir.path());
    for number in 0..200_u32 {
        let record = *blake3::hash(&number.to_le_bytes()).as_bytes();
        let results = store.record_results(&record).unwrap();
        assert_eq!(results.len(), if number % 50 == 0 { 5 } else { 1 });
    }
    assert_eq!(fs_err::read_dir(dir.path().join("sessions")).unwrap().count(), 0);
    assert_eq!(fs_err::read_dir(dir.path().join("snapshots")).unwrap().count(), 16);
}

fn leases_of_a_killed_process_die() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut peer = Peer::start("lease", dir.path());
    let id = SnapshotId(peer.line());
    store.prune(&PruneOptions { all: true }).unwrap();
    assert!(exists(&store, &id) && store.has_blob(&Digest::of(b"leased")).unwrap());
    peer.kill();
    let report = store.prune(&PruneOptions { all: true }).unwrap();
    assert!(!exists(&store, &id) && !store.has_blob(&Digest::of(b"leased")).unwrap());
    assert!(report.reclaimed >= 4096);
    assert_eq!(fs_err::read_dir(dir.path().join("sessions")).unwrap().count(), 0);
    assert_eq!(store.usage().unwrap(), []);
}

fn a_process_killed_in_a_blob_leaves_nothing_visible() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut peer = Peer::start("half-a-blob", dir.path());
    assert_eq!(peer.line(), "written");
    peer.kill();
    assert_eq!(fs_err::read_dir(dir.path().join("blobs/sha256")).unwrap().count(), 0);
    assert!(!store.has_blob(&Digest::of(b"half")).unwrap());
    store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(fs_err::read_dir(dir.path().join("sessions")).unwrap().count(), 0);
}

fn a_lock_dies_with_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut peer = Peer::start("lock", dir.path());
    assert_eq!(peer.line(), "locked");
    assert!(store.try_lock("key").unwrap().is_none());
    peer.kill();
    assert!(store.lock("key").is_ok());
}
