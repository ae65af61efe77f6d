//! The process that becomes the command: pid 1 of the new namespaces, from its first instruction to exec.

use std::convert::Infallible;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::Mode;
use rustix::process::{Signal, fchdir, set_parent_process_death_signal, setsid, umask};

use crate::channel;
use crate::child::mounts::{self, Filesystem};
use crate::child::rooted::{self, Leaf};
use crate::child::tree::Tree;
use crate::child::{credentials, program, standard, stdio};
use crate::error::{ExecutorError, Step};
use crate::sys;
use crate::sys::mount::{Change, set_attributes};
use crate::user::{MAX_DATABASE_BYTES, ResolvedUser, resolve_user};
use crate::wire::{Arrival, Failure, Luggage, READY, Report, Request, Stub, WireBind, WireNetwork, WireSource};

/// Stubs in one message of the report.
const STUBS_IN_MESSAGE: usize = 64;

/// Sets the sandbox up and becomes the command; a failure goes to the status pipe.
pub(super) fn run(arrival: Arrival, socket: BorrowedFd<'_>, report: BorrowedFd<'_>) -> ! {
    let Arrival { request, status, mut luggage } = arrival;
    let mut status = Status(fs::File::from_parts(std::fs::File::from(status), "status"));
    let Err(error) = become_command(request, &mut luggage, socket, report, &mut status);
    status.say(&serde_json::to_vec(&Failure::from(error)).unwrap_or_default());
    sys::process::exit(1)
}

fn become_command(
    request: Request,
    luggage: &mut Luggage,
    socket: BorrowedFd<'_>,
    report: BorrowedFd<'_>,
    status: &mut Status,
) -> Result<Infallible, ExecutorError> {
    let Request {
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
        stdio,
    } = request;
    isolate(&hostname, network)?;
    let mut tree = Tree::enter(root, luggage, privileged)?;
    let surroundings = Surroundings { privileged, shm_size, mounts, hosts, resolv_conf };
    let filled = fill(&mut tree, surroundings, luggage);
    if clean_stubs {
        // Also after a failure: what was made until then is to go again.
        report_stubs(report, &mut tree)?;
    }
    let devices = filled?;
    if readonly_root {
        set_attributes(tree.root(), Change::ReadOnly, false).step(|| "make the root read-only")?;
    }

    let user = find_user(&tree, &user)?;
    let ends = stdio::open(stdio, luggage, &devices, &user, socket)?;
    let directory = working_directory(&tree, &cwd, &user)?;
    tree.pivot()?;
    fchdir(&directory).step(|| format!("change to the directory `{cwd}`"))?;
    drop((tree, directory, devices));

    credentials::apply(&user, &ulimits, privileged)?;
    umask(Mode::from_raw_mode(0o022));
    let program = program::find(&args, env, &user.home)?;
    sys::signal::reset_all().step(|| "reset signals")?;
    // Cleared by a change of uid, so not earlier. The supervisor may have ended before: then nobody hears the empty report.
    set_parent_process_death_signal(Some(Signal::KILL)).step(|| "bind its life to its supervisor's")?;
    channel::send(report, &Report { stubs: Vec::new() }, &[]).step(|| "reach its supervisor")?;
    stdio::install(ends)?;
    sys::process::close_from_on_exec(3).step(|| "close descriptors")?;
    status.say(&[READY]);
    Err(program.execute())
}

/// What namespaces need besides mounts.
fn isolate(hostname: &str, network: WireNetwork) -> Result<(), ExecutorError> {
    umask(Mode::empty());
    setsid().step(|| "start a session")?;
    sys::process::join_new_keyring().or_else(unsupported).step(|| "join a new keyring")?;
    if !hostname.is_empty() {
        rustix::system::sethostname(hostname.as_bytes()).step(|| format!("set the hostname `{hostname}`"))?;
    }
    match network {
        WireNetwork::Host => Ok(()),
        WireNetwork::None => sys::network::loopback_up().step(|| "bring the loopback interface up"),
    }
}

/// A keyring is a courtesy of kernels that have them and of users within their quota.
fn unsupported(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

/// What is mounted below the root.
struct Surroundings {
    privileged: bool,
    shm_size: u64,
    mounts: Vec<WireBind>,
    hosts: Option<String>,
    resolv_conf: Option<String>,
}

/// Mounts everything below the root.
fn fill(tree: &mut Tree, surroundings: Surroundings, luggage: &mut Luggage) -> Result<standard::Devices, ExecutorError> {
    let Surroundings { privileged, shm_size, mounts: binds, hosts, resolv_conf } = surroundings;
    let devices = standard::mount(tree, privileged, shm_size)?;
    let files = [("/etc/hosts", hosts), ("/etc/resolv.conf", resolv_conf)];
    // A mount over /etc must not hide them.
    let covered = |path: &str| {
        binds.iter().any(|bind| {
            let target: &Path = bind.target.as_path();
            target != Path::new(path) && Path::new(path).starts_with(target)
        })
    };
    let (late, early): (Vec<_>, Vec<_>) = files.into_iter().partition(|(path, _)| covered(path));
    mount_files(tree, early)?;
    for bind in binds {
        mount_bind(tree, bind, luggage, privileged)?;
    }
    mount_files(tree, late)?;
    Ok(devices)
}

fn mount_files(tree: &mut Tree, files: Vec<(&str, Option<String>)>) -> Result<(), ExecutorError> {
    for (path, content) in files {
        let Some(content) = content else { continue };
        let file = tree.file(content.as_bytes(), 0o644, 0, 0)?;
        set_attributes(file.as_fd(), Change::ReadOnly, false).step(|| format!("make `{path}` read-only"))?;
        tree.attach(file.as_fd(), Path::new(path))?;
    }
    Ok(())
}

fn mount_bind(tree: &mut Tree, bind: WireBind, luggage: &mut Luggage, devices: bool) -> Result<(), ExecutorError> {
    let WireBind { source, target, readonly } = bind;
    let target = PathBuf::from(target);
    let mount = match source {
        WireSource::Mount(mount) => mounts::detached(mount, luggage)?,
        WireSource::Part { mount, path } => {
            let whole = mounts::detached(mount, luggage)?;
            tree.part(whole.as_fd(), &PathBuf::from(path))?
        }
        WireSource::Path(path) => mounts::host_path(&PathBuf::from(path))?,
        WireSource::Tmpfs { size, mode } => Filesystem::tmpfs(size, mode).private_mount()?,
        WireSource::File { offset, length, mode, uid, gid } => {
            let content = luggage.content(offset, length).to_vec();
            tree.file(&content, mode, uid, gid)?
        }
    };
    if !devices {
        mounts::disable_devices(mount.as_fd())?;
    }
    if readonly {
        set_attributes(mount.as_fd(), Change::ReadOnly, true).step(|| format!("make `{}` read-only", target.display()))?;
    }
    tree.attach(mount.as_fd(), &target)
}

fn find_user(tree: &Tree, spec: &str) -> Result<ResolvedUser, ExecutorError> {
    let read = |path: &str| rooted::read(tree.root(), Path::new(path), MAX_DATABASE_BYTES).step(|| format!("read `{path}`"));
    let passwd = read("/etc/passwd")?.unwrap_or_default();
    let group = read("/etc/group")?.unwrap_or_default();
    resolve_user(&passwd, &group, spec)
}

fn working_directory(tree: &Tree, path: &str, user: &ResolvedUser) -> Result<OwnedFd, ExecutorError> {
    // Part of what the command leaves behind, not a mount point.
    let made = &mut Vec::new();
    let opened = rooted::ensure(tree.root(), Path::new(path), Leaf::Directory, Some((user.uid, user.gid)), made);
    opened.step(|| format!("create the working directory `{path}`"))
}

/// Tells the supervisor which mount points were made.
fn report_stubs(report: BorrowedFd<'_>, tree: &mut Tree) -> Result<(), ExecutorError> {
    let stubs: Vec<Stub> = tree.take_stubs();
    for part in stubs.chunks(STUBS_IN_MESSAGE) {
        let part = Report { stubs: part.to_vec() };
        channel::send(report, &part, &[tree.root()]).step(|| "report its mount points")?;
    }
    Ok(())
}

/// The pipe on which rbuild waits for the start.
struct Status(fs::File);

impl Status {
    fn say(&mut self, bytes: &[u8]) {
        // Nobody reads it any more only when rbuild is gone, and then this process soon is.
        let _unread = self.0.write_all(bytes);
    }
}
