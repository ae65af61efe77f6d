//! Digests of a context's files, kept from build to build in one file for each context directory.
//!
//! ```text
//! "rbmemo1\n"  count:u64
//! count × { dev:u64 ino:u64 size:u64 mtime:i64,u32 ctime:u32,i64 age:u64 body:[u8;32] }   sorted by (dev, ino), little-endian
//! blake3 of all of the above: [u8;32]
//! ```
//! A record is believed only when all of it equals the file's status, and is written only when the file's ctime was older than a
//! window by the kernel's own clock before the file was read: a later write must then give another ctime ("racy clean" in git's words).
//! Only file systems known to keep honest ctimes count.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use rbuild_fs::Stat;
use rustix::fs::{CWD, Mode, OFlags};

const MAGIC: &[u8; 8] = b"rbmemo1\n";
const HEADER: usize = 16;
const RECORD: usize = 88;
const CHECKSUM: usize = 32;
/// Largest file that is read: six million records.
const LIMIT: u64 = 512 << 20;
/// Writes of the file that a record survives without being used.
const MAX_AGE: u64 = 50;
/// Kernel time stamps step by a tick, 10 ms at most.
const WINDOW: i128 = 100_000_000;
/// Where ctimes have whole seconds (ext4 with small inodes).
const COARSE_WINDOW: i128 = 2_100_000_000;

/// File systems that set ctime at every change, from the kernel's clock (statfs(2)).
const HONEST: [u32; 7] = [
    0xEF53,      /* ext2-4 */
    0x5846_5342, /* xfs */
    0x9123_683E, /* btrfs */
    0x0102_1994, /* tmpfs */
    0xF2F5_2010, /* f2fs */
    0x794C_7630, /* overlay */
    0xCA45_1A4E, /* bcachefs */
];

/// Nanoseconds since the epoch, by the clock that stamps files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DiskTime(i128);

/// What must be equal for a file to be unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

/// What is known of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) digest: [u8; 32],
    /// Whether the file may change without its status telling.
    pub(crate) racy: bool,
}

/// The memo of one context. Learns in memory; `save` writes it down.
pub(crate) struct Memo {
    file: PathBuf,
    scratch: PathBuf,
    /// The context's device, if ctimes on it can be relied on.
    honest_device: Option<u64>,
    stored: Stored,
    used: Mutex<Vec<bool>>,
    learnt: Mutex<HashMap<Identity, Body>>,
    dirty: Mutex<bool>,
}

impl Memo {
    /// Loads the memo of a context. `scratch` is a directory of the session's, for clock readings and new files; `paranoid` does not
    /// believe what earlier builds wrote.
    pub(crate) fn open(file: PathBuf, context: &Path, scratch: PathBuf, paranoid: bool) -> Memo {
        let stored = if paranoid { Stored::default() } else { Stored::load(&file) };
        let used = Mutex::new(vec![false; stored.len()]);
        Memo {
            file,
            scratch,
            honest_device: honest_device(context),
            stored,
            used,
            learnt: Mutex::default(),
            dirty: Mutex::default(),
        }
    }

    /// Digests of what is known, in the order asked for.
    pub(crate) fn known(&self, files: impl Iterator<Item = Identity>) -> Vec<Option<[u8; 32]>> {
        let learnt = lock(&self.learnt);
        let mut used = lock(&self.used);
        files
            .map(|identity| {
                if let Some(body) = learnt.get(&identity) {
                    return Some(body.digest);
                }
                let index = self.stored.find(&identity)?;
                used[index] = true;
                Some(self.stored.record(index).body)
            })
            .collect()
    }

    pub(crate) fn body(&self, identity: &Identity) -> Option<Body> {
        if let Some(body) = lock(&self.learnt).get(identity) {
            return Some(*body);
        }
        let index = self.stored.find(identity)?;
        Some(Body { digest: self.stored.record(index).body, racy: false })
    }

    pub(crate) fn learn(&self, bodies: impl Iterator<Item = (Identity, Body)>) {
        let mut learnt = lock(&self.learnt);
        for (identity, body) in bodies {
            *lock(&self.dirty) |= !body.racy;
            learnt.insert(identity, body);
        }
    }

    /// The time before files are read; `None` when it cannot be told.
    pub(crate) fn clock(&self) -> Option<DiskTime> {
        disk_time(&self.scratch).ok()
    }

    /// Whether a file with this status, seen after `clock` was read, cannot change without its status telling.
    pub(crate) fn is_clean(&self, stat: &Stat, clock: Option<DiskTime>) -> bool {
        let window = if stat.ctime.1 == 0 { COARSE_WINDOW } else { WINDOW };
        self.honest_device == Some(stat.dev) && clock.is_some_and(|clock| nanoseconds(stat.ctime) + window < clock.0)
    }

    /// Writes what was learnt, replacing the file in one step. Another process may do the same: the last one wins, and nothing is lost
    /// but time.
    pub(crate) fn save(&self) -> io::Result<()> {
        if !std::mem::take(&mut *lock(&self.dirty)) {
            return Ok(());
        }
        let records = self.merged();
        let mut bytes = Vec::with_capacity(HEADER + records.len() * RECORD + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(records.len() as u64).to_le_bytes());
        records.iter().for_each(|record| record.encode(&mut bytes));
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        if let Some(directory) = self.file.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut name = std::ffi::OsString::from("memo-");
        name.push(self.file.file_name().unwrap_or_default());
        let staged = self.scratch.join(name);
        fs::File::create(&staged)?.write_all(&bytes)?;
        fs::rename(&staged, &self.file)
    }

    fn merged(&self) -> Vec<Record> {
        let learnt = lock(&self.learnt);
        let used = lock(&self.used);
        let mut records: Vec<Record> = learnt
            .iter()
            .filter(|(_, body)| !body.racy)
            .map(|(identity, body)| Record { identity: *identity, age: 0, body: body.digest })
            .collect();
        records.extend((0..self.stored.len()).filter_map(|index| {
            let record = self.stored.record(index);
            let age = if used[index] { 0 } else { record.age + 1 };
            (age <= MAX_AGE).then_some(Record { age, ..record })
        }));
        // Stable, so that what was learnt comes before what was stored of the same file.
        records.sort_by(|a, b| a.identity.place().cmp(&b.identity.place()).then(newer(a, b)));
        records.dedup_by_key(|record| record.identity.place());
        records
    }
}

fn newer(a: &Record, b: &Record) -> Ordering {
    b.identity.ctime.cmp(&a.identity.ctime)
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Identity {
        Identity { dev: stat.dev, ino: stat.ino, size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
    }

    fn place(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }
}

struct Record {
    identity: Identity,
    age: u64,
    body: [u8; 32],
}

impl Record {
    fn encode(&self, to: &mut Vec<u8>) {
        let Identity { dev, ino, size, mtime, ctime } = self.identity;
        for number in [dev, ino, size] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        to.extend_from_slice(&mtime.0.to_le_bytes());
        to.extend_from_slice(&mtime.1.to_le_bytes());
        to.extend_from_slice(&ctime.1.to_le_bytes());
        to.extend_from_slice(&ctime.0.to_le_bytes());
        to.extend_from_slice(&self.age.to_le_bytes());
        to.extend_from_slice(&self.body);
    }

    fn decode(bytes: &[u8]) -> Record {
        let identity = Identity {
            dev: u64::from_le_bytes(field(bytes, 0)),
            ino: u64::from_le_bytes(field(bytes, 8)),
            size: u64::from_le_bytes(field(bytes, 16)),
            mtime: (i64::from_le_bytes(field(bytes, 24)), u32::from_le_bytes(field(bytes, 32))),
            ctime: (i64::from_le_bytes(field(bytes, 40)), u32::from_le_bytes(field(bytes, 36))),
        };
        Record { identity, age: u64::from_le_bytes(field(bytes, 48)), body: field(bytes, 56) }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range is N long")
}

/// The records of the file, as they are on disk.
#[derive(Default)]
struct Stored {
    bytes: Vec<u8>,
}

impl Stored {
    /// What cannot be read, or is not whole, counts as empty.
    fn load(file: &Path) -> Stored {
        Stored::read(file).unwrap_or_default()
    }

    fn read(file: &Path) -> Option<Stored> {
        if fs::metadata(file).ok()?.len() > LIMIT {
            return None;
        }
        let mut bytes = fs::read(file).ok()?;
        let content = bytes.len().checked_sub(CHECKSUM)?;
        if content < HEADER
            || &bytes[..8] != MAGIC
            || (content - HEADER) as u64 != u64::from_le_bytes(field(&bytes, 8)).checked_mul(RECORD as u64)?
        {
            return None;
        }
        if blake3::hash(&bytes[..content]).as_bytes() != &bytes[content..] {
            return None;
        }
        bytes.truncate(content);
        bytes.drain(..HEADER);
        Some(Stored { bytes })
    }

    fn len(&self) -> usize {
        self.bytes.len() / RECORD
    }

    fn record(&self, index: usize) -> Record {
        Record::decode(&self.bytes[index * RECORD..][..RECORD])
    }

    fn find(&self, identity: &Identity) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let record = &self.bytes[middle * RECORD..][..16];
            let place = (u64::from_le_bytes(field(record, 0)), u64::from_le_bytes(field(record, 8)));
            match place.cmp(&identity.place()) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return (self.record(middle).identity == *identity).then_some(middle),
            }
        }
        None
    }
}

fn honest_device(directory: &Path) -> Option<u64> {
    let kind = rustix::fs::statfs(directory).ok()?.f_type;
    // f_type's width differs between architectures; the magic numbers have 32 bits.
    let kind = u32::try_from(i128::from(kind) & 0xFFFF_FFFF).ok()?;
    let device = std::os::unix::fs::MetadataExt::dev(&fs::metadata(directory).ok()?);
    HONEST.contains(&kind).then_some(device)
}

/// The time that a file made now gets.
fn disk_time(directory: &Path) -> io::Result<DiskTime> {
    let unnamed = rustix::fs::openat(CWD, directory, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    let stat = match unnamed {
        Ok(file) => rustix::fs::fstat(file)?,
        Err(_) => {
            let path = directory.join("clock");
            let file = fs::File::create(&path)?;
            let stat = rustix::fs::fstat(&file)?;
            fs::remove_file(&path)?;
            stat
        }
    };
    let nanoseconds_part = u32::try_from(stat.st_ctime_nsec).unwrap_or(0);
    Ok(DiskTime(nanoseconds((stat.st_ctime, nanoseconds_part))))
}

fn nanoseconds((seconds, nanoseconds): (i64, u32)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
