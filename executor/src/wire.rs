//! What rbuild and its sandbox child say to each other.
//!
//! ```text
//! rbuild     → supervisor  Parcel{total}    descriptors: request (a memory file), status pipe, those the request names; repeated
//! supervisor → rbuild      Started{pid}     descriptor: pidfd of the command
//! command    → rbuild      Terminal         descriptor: master of its terminal; before exec
//! command    → rbuild      (status pipe)    READY, then a Failure when exec failed, else end of file; or only a Failure
//! command    → supervisor  Report           mount points it made, the root's descriptor; before exec
//! supervisor → rbuild      Ended | Failed   last
//! ```
//! The request's memory file holds the length of the JSON (8 bytes, little endian), the JSON of [`Request`], then the contents of files.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rbuild_fs::MountSource;
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::channel;
use crate::error::{ExecutorError, Step};
use crate::spec::{BindMount, BindSource, Network, Spec};

/// Name under which this program runs as a supervisor.
pub(crate) const CHILD_NAME: &str = "rbuild-init";

/// On the status pipe: everything but exec has been done. JSON does not begin with it.
pub(crate) const READY: u8 = 0;

/// From rbuild: some of `total` descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parcel {
    pub(crate) total: usize,
}

/// To rbuild.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Started { pid: u32 },
    Terminal,
    Failed(Failure),
    Ended(End),
}

/// How the command ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

/// An [`ExecutorError`] that can travel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    UnknownUser(String),
    UnknownGroup(String),
    NotFound(String),
    NotExecutable { program: String, errno: i32 },
    Setup { step: String, errno: i32 },
}

/// Mount points that the command's process made in the root, in the order of their making.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) stubs: Vec<Stub>,
}

/// One file or directory, by the path of its parent beneath the root (no links in it) and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stub {
    pub(crate) parent: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) directory: bool,
}

/// A [`Spec`] and a [`Stdio`] with indices instead of descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) root: WireMount,
    pub(crate) readonly_root: bool,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) user: String,
    pub(crate) hostname: String,
    pub(crate) network: WireNetwork,
    pub(crate) mounts: Vec<WireBind>,
    pub(crate) clean_stubs: bool,
    pub(crate) hosts: Option<String>,
    pub(crate) resolv_conf: Option<String>,
    pub(crate) privileged: bool,
    pub(crate) shm_size: u64,
    pub(crate) ulimits: Vec<(String, i64, i64)>,
    pub(crate) stdio: WireStdio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireNetwork {
    Host,
    None,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WireMount {
    Descriptor(usize),
    Overlay { base: PathBytes, lower: Vec<String>, upper: Option<String>, work: Option<String>, userxattr: bool },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireBind {
    pub(crate) source: WireSource,
    pub(crate) target: PathBytes,
    pub(crate) readonly: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WireSource {
    Mount(WireMount),
    Part {
        mount: WireMount,
        path: PathBytes,
    },
    Path(PathBytes),
    Tmpfs {
        size: Option<u64>,
        mode: u32,
    },
    /// `offset` and `length` are a range of the request's contents.
    File {
        offset: usize,
        length: usize,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WireStdio {
    Piped { stdout: usize, stderr: usize },
    Inherit { stdin: usize, stdout: usize, stderr: usize },
    Terminal { rows: u16, columns: u16 },
}

/// A path that need not be UTF-8.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PathBytes(Vec<u8>);

impl PathBytes {
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<PathBuf> for PathBytes {
    fn from(path: PathBuf) -> PathBytes {
        PathBytes(path.into_os_string().into_vec())
    }
}

impl From<PathBytes> for PathBuf {
    fn from(path: PathBytes) -> PathBuf {
        PathBuf::from(OsString::from_vec(path.0))
    }
}

/// A [`Stdio`](crate::Stdio) from the command's side: the ends that it gets.
#[derive(Debug)]
pub(crate) enum ChildStdio {
    Piped { stdout: OwnedFd, stderr: OwnedFd },
    Inherit { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    Terminal { rows: u16, columns: u16 },
}

/// Descriptors in the order of their indices, and the contents of files.
#[derive(Debug, Default)]
pub(crate) struct Luggage {
    descriptors: Vec<Option<OwnedFd>>,
    contents: Vec<u8>,
}

impl Luggage {
    fn put(&mut self, descriptor: OwnedFd) -> usize {
        self.descriptors.push(Some(descriptor));
        self.descriptors.len() - 1
    }

    /// Each can be taken once.
    pub(crate) fn take(&mut self, index: usize) -> Result<OwnedFd, ExecutorError> {
        let found = self.descriptors.get_mut(index).and_then(Option::take);
        found.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)).step(|| "find a descriptor of its request")
    }

    pub(crate) fn content(&self, offset: usize, length: usize) -> &[u8] {
        let end = offset.saturating_add(length);
        self.contents.get(offset..end).unwrap_or_default()
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) request: Request,
    pub(crate) status: OwnedFd,
    pub(crate) luggage: Luggage,
}

/// Makes all descriptors of a parcel: the request, the end of the status pipe that the child gets, those that the request names.
pub(crate) fn pack(spec: Spec, stdio: ChildStdio, status: OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let mut luggage = Luggage::default();
    let request = to_request(spec, stdio, &mut luggage);
    let json = serde_json::to_vec(&request)?;
    let fd = rustix::fs::memfd_create("rbuild-request", MemfdFlags::CLOEXEC)?;
    let mut file = fs::File::from_parts(std::fs::File::from(fd), "request");
    file.write_all(&(json.len() as u64).to_le_bytes())?;
    file.write_all(&json)?;
    file.write_all(&luggage.contents)?;
    let (file, _) = file.into_parts();
    Ok([OwnedFd::from(file), status].into_iter().chain(luggage.descriptors.into_iter().flatten()).collect())
}

/// Sends what [`pack`] made.
pub(crate) fn send_parcel(socket: BorrowedFd<'_>, descriptors: &[OwnedFd]) -> io::Result<()> {
    for part in descriptors.chunks(channel::MAX_DESCRIPTORS) {
        let part: Vec<BorrowedFd<'_>> = part.iter().map(AsFd::as_fd).collect();
        channel::send(socket, &Parcel { total: descriptors.len() }, &part)?;
    }
    Ok(())
}

/// Receives and reads what [`send_parcel`] sent.
pub(crate) fn receive_parcel(socket: BorrowedFd<'_>) -> io::Result<Arrival> {
    let mut descriptors = Vec::new();
    loop {
        let (parcel, part) = channel::receive::<Parcel>(socket, true)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        descriptors.extend(part);
        if descriptors.len() >= parcel.total {
            break;
        }
    }
    let mut descriptors = descriptors.into_iter();
    let file = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
    let status = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    fs::File::from_parts(std::fs::File::from(file), "request").read_to_end(&mut bytes)?;
    let (length, rest) = bytes.split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(io::Error::other)?;
    let (json, contents) = rest.split_at_checked(length).ok_or(io::ErrorKind::InvalidData)?;
    let request = serde_json::from_slice(json)?;
    let luggage = Luggage { descriptors: descriptors.map(Some).collect(), contents: contents.to_vec() };
    Ok(Arrival { request, status, luggage })
}

fn to_request(spec: Spec, stdio: ChildStdio, luggage: &mut Luggage) -> Request {
    let Spec {
        root,
        readonly_root,
        args,
        env,
        cwd,
        user,
        hostname,
        network,
        mounts,
        clean_stubs,
        hosts,
        resolv_conf,
        privileged,
        shm_size,
        ulimits,
    } = spec;
    Request {
        root: to_wire_mount(root, luggage),
        readonly_root,
        args,
        env,
        cwd,
        user,
        hostname,
        network: match network {
            Network::Host => WireNetwork::Host,
            Network::None => WireNetwork::None,
        },
        mounts: mounts.into_iter().map(|mount| to_wire_bind(mount, luggage)).collect(),
        clean_stubs,
        hosts,
        resolv_conf,
        privileged,
        shm_size,
        ulimits,
        stdio: to_wire_stdio(stdio, luggage),
    }
}

fn to_wire_mount(mount: MountSource, luggage: &mut Luggage) -> WireMount {
    match mount {
        MountSource::Detached(descriptor) => WireMount::Descriptor(luggage.put(descriptor)),
        MountSource::Overlay { base, lower, upper, work, userxattr } => {
            WireMount::Overlay { base: base.into(), lower, upper, work, userxattr }
        }
    }
}

fn to_wire_bind(mount: BindMount, luggage: &mut Luggage) -> WireBind {
    let BindMount { source, target, readonly } = mount;
    let source = match source {
        BindSource::Mount(mount) => WireSource::Mount(to_wire_mount(mount, luggage)),
        BindSource::Part { mount, path } => WireSource::Part { mount: to_wire_mount(mount, luggage), path: path.into() },
        BindSource::Path(path) => WireSource::Path(path.into()),
        BindSource::Tmpfs { size, mode } => WireSource::Tmpfs { size, mode },
        BindSource::File { content, mode, uid, gid } => {
            let (offset, length) = (luggage.contents.len(), content.len());
            luggage.contents.extend(content);
            WireSource::File { offset, length, mode, uid, gid }
        }
    };
    WireBind { source, target: target.into(), readonly }
}

fn to_wire_stdio(stdio: ChildStdio, luggage: &mut Luggage) -> WireStdio {
    match stdio {
        ChildStdio::Piped { stdout, stderr } => WireStdio::Piped { stdout: luggage.put(stdout), stderr: luggage.put(stderr) },
        ChildStdio::Inherit { stdin, stdout, stderr } => {
            WireStdio::Inherit { stdin: luggage.put(stdin), stdout: luggage.put(stdout), stderr: luggage.put(stderr) }
        }
        ChildStdio::Terminal { rows, columns } => WireStdio::Terminal { rows, columns },
    }
}

impl From<ExecutorError> for Failure {
    fn from(error: ExecutorError) -> Failure {
        let errno = |error: &io::Error| error.raw_os_error().unwrap_or(libc::EINVAL);
        match error {
            ExecutorError::UnknownUser(user) => Failure::UnknownUser(user),
            ExecutorError::UnknownGroup(group) => Failure::UnknownGroup(group),
            ExecutorError::NotFound(program) => Failure::NotFound(program),
            ExecutorError::NotExecutable { program, source } => Failure::NotExecutable { program, errno: errno(&source) },
            ExecutorError::Setup { step, source } => Failure::Setup { step, errno: errno(&source) },
        }
    }
}

impl From<Failure> for ExecutorError {
    fn from(failure: Failure) -> ExecutorError {
        match failure {
            Failure::UnknownUser(user) => ExecutorError::UnknownUser(user),
            Failure::UnknownGroup(group) => ExecutorError::UnknownGroup(group),
            Failure::NotFound(program) => ExecutorError::NotFound(program),
            Failure::NotExecutable { program, errno } => {
                ExecutorError::NotExecutable { program, source: io::Error::from_raw_os_error(errno) }
            }
            Failure::Setup { step, errno } => ExecutorError::Setup { step, source: io::Error::from_raw_os_error(errno) },
        }
    }
}
