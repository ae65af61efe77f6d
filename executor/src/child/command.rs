//! The process that becomes the command: pid 1 of the new namespaces, from its first instruction to exec.

use std::convert::Infallible;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
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
use crate::wire::{Arrival, Failure, Luggage, Report, Request, Stub, WireBind, WireSource};

/// Stubs in one message of the report.
const STUBS_IN_MESSAGE: usize = 64;

/// Sets the sandbox up and becomes the command; a failure goes to the status pipe.
pub(super) fn run(arrival: Arrival, socket: BorrowedFd<'_>, report: BorrowedFd<'_>) -> ! {
    let Arrival { request, status, mut luggage } = arrival;
    let mut stubs = Reporter { report, enabled: request.clean_stubs };
    let Err(error) = become_command(request, &mut luggage, socket, &mut stubs);
    let failure = serde_json::to_vec(&Failure::from(error)).unwrap_or_default();
    let mut status = fs::File::from_parts(std::fs::File::from(status), "status");
    // Nobody reads it any more only when rbuild is gone.
    let _unread = status.write_all(&failure);
    sys::process::exit(1)
}

fn become_command(
    request: Request,
    luggage: &mut Luggage,
    socket: BorrowedFd<'_>,
    reporter: &mut Reporter<'_>,
) -> Result<Infallible, ExecutorError> {
    umask(Mode::empty());
    setsid().step(|| "start a session")?;
    sys::process::join_new_keyring().or_else(unsupported).step(|| "join a new keyring")?;
    if !request.hostname.is_empty() {
        rustix::system::sethostname(request.hostname.as_bytes()).step(|| format!("set the hostname `{}`", request.hostname))?;
    }
    if request.own_network {
        sys::network::loopback_up().step(|| "bring the loopback interface up")?;
    }
    let mut tree = Tree::enter(request.root, luggage)?;
    let filled =
        fill(&mut tree, request.privileged, request.shm_size, request.mounts, request.hosts, request.resolv_conf, luggage);
    // Also after a failure: what was made until then is to go again.
    reporter.send(&mut tree)?;
    let devices = filled?;
    if request.readonly_root {
        set_attributes(tree.root(), Change::ReadOnly, false).step(|| "make the root read-only")?;
    }

    let user = find_user(&tree, &request.user)?;
    let ends = stdio::open(request.stdio, luggage, &devices, &user, socket)?;
    let cwd = working_directory(&tree, &request.cwd, &user)?;
    tree.pivot()?;
    fchdir(&cwd).step(|| format!("change to the directory `{}`", request.cwd))?;
    drop((tree, cwd));

    credentials::apply(&user, &request.ulimits, request.privileged)?;
    umask(Mode::from_raw_mode(0o022));
    let program = program::find(&request.args, request.env, &user.home)?;
    sys::signal::reset_all().step(|| "reset signals")?;
    // Cleared by a change of uid, so not earlier. The supervisor may have ended in between: then nobody hears the probe.
    set_parent_process_death_signal(Some(Signal::KILL)).step(|| "bind its life to the supervisor's")?;
    reporter.probe()?;
    stdio::install(ends)?;
    sys::process::close_from_on_exec(3).step(|| "close descriptors")?;
    Err(program.execute())
}

/// A keyring is a courtesy of kernels that have them and of users within their quota.
fn unsupported(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

/// Mounts everything below the root.
fn fill(
    tree: &mut Tree,
    privileged: bool,
    shm_size: u64,
    binds: Vec<WireBind>,
    hosts: Option<String>,
    resolv_conf: Option<String>,
    luggage: &mut Luggage,
) -> Result<standard::Devices, ExecutorError> {
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
        mount_bind(tree, bind, luggage)?;
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

fn mount_bind(tree: &mut Tree, bind: WireBind, luggage: &mut Luggage) -> Result<(), ExecutorError> {
    let WireBind { source, target, readonly } = bind;
    let target = PathBuf::from(target);
    let mount = match source {
        WireSource::Mount(mount) => mounts::detached(mount, luggage)?,
        WireSource::Path(path) => mounts::host_path(&PathBuf::from(path))?,
        WireSource::Tmpfs { size, mode } => Filesystem::tmpfs(size, mode).private_mount()?,
        WireSource::File { offset, length, mode, uid, gid } => {
            let content = luggage.content(offset, length).to_vec();
            tree.file(&content, mode, uid, gid)?
        }
    };
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

fn working_directory(tree: &Tree, path: &str, user: &ResolvedUser) -> Result<std::os::fd::OwnedFd, ExecutorError> {
    let made = rooted::ensure(tree.root(), Path::new(path), Leaf::Directory, Some((user.uid, user.gid)));
    Ok(made.step(|| format!("create the working directory `{path}`"))?.opened)
}

/// Tells the supervisor which mount points were made.
struct Reporter<'a> {
    report: BorrowedFd<'a>,
    enabled: bool,
}

impl Reporter<'_> {
    fn send(&mut self, tree: &mut Tree) -> Result<(), ExecutorError> {
        let stubs: Vec<Stub> = tree.take_stubs();
        if !self.enabled {
            return Ok(());
        }
        for part in stubs.chunks(STUBS_IN_MESSAGE) {
            let report = Report { stubs: part.to_vec() };
            channel::send(self.report, &report, &[tree.root()]).step(|| "report its mount points")?;
        }
        Ok(())
    }

    /// Fails when the supervisor is gone.
    fn probe(&self) -> Result<(), ExecutorError> {
        channel::send(self.report, &Report { stubs: Vec::new() }, &[]).step(|| "reach its supervisor")
    }
}
