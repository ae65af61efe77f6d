//! What a RUN's sandbox is made of: its root, its mounts and its surroundings.

use std::path::{Path, PathBuf};

use rbuild_executor::{BindMount, BindSource, Network, Spec};
use rbuild_fs::MountSource;
use rbuild_graph::{ExecOp, Mount, MountKind, NetworkMode, OutputIndex, SecurityMode};
use rbuild_snapshotter::{ActiveSnapshot, Snapshot, SnapshotDriver};

use crate::WorkError;
use crate::options::WorkerOptions;
use crate::surroundings::{hosts, resolv_conf};

/// `/dev/shm` where nothing else is asked for.
const SHM_SIZE: u64 = 64 << 20;
/// Permission bits of a tmpfs's root.
const TMPFS_MODE: u32 = 0o1777;

/// A sandbox that can be started.
pub(super) struct Prepared {
    pub(super) spec: Spec,
    /// States that the process may change, with the outputs they become; they must outlive it.
    pub(super) states: Vec<(Option<OutputIndex>, ActiveSnapshot)>,
}

/// Refuses what is not supported yet before anything is made.
pub(super) fn check(op: &ExecOp, options: &WorkerOptions) -> Result<(), WorkError> {
    let refuse = |what: &str| Err(WorkError::NotSupported(what.to_owned()));
    if op.cgroup_parent.is_some() {
        return refuse("a parent cgroup of RUN");
    }
    if op.mounts.first().is_none_or(|mount| mount.target != "/" || mount.selector.is_some() || mount.kind != MountKind::Bind) {
        return Err(WorkError::Internal("the first mount of a process is not its root".to_owned()));
    }
    for mount in &op.mounts {
        match &mount.kind {
            MountKind::Ssh(_) => return refuse("`RUN --mount=type=ssh`"),
            MountKind::Cache(_) if mount.input.is_some() => return refuse("`from=` of `RUN --mount=type=cache`"),
            MountKind::Secret(secret) if secret.required && !options.secrets.contains_key(&secret.id) => {
                return Err(WorkError::MissingSecret(secret.id.clone()));
            }
            MountKind::Bind | MountKind::Cache(_) | MountKind::Tmpfs { .. } | MountKind::Secret(_) => {}
        }
    }
    match op.secret_env.iter().find(|secret| secret.required && !options.secrets.contains_key(&secret.id)) {
        Some(secret) => Err(WorkError::MissingSecret(secret.id.clone())),
        None => Ok(()),
    }
}

/// The state that a mount shows.
#[derive(Clone, Default)]
pub(super) struct Shown {
    /// `None`: the empty file system.
    pub(super) snapshot: Option<Snapshot>,
    /// What of it; `None`: all.
    pub(super) part: Option<PathBuf>,
}

/// Prepares states and mounts. Blocks. `shown` has what each mount shows, `caches` the directories of cache mounts.
pub(super) fn prepare(
    options: &WorkerOptions,
    op: &ExecOp,
    shown: &[Shown],
    caches: &[Option<PathBuf>],
) -> Result<Prepared, WorkError> {
    let driver = options.snapshotter.driver();
    let mut states = Vec::new();
    let without_root = || WorkError::Internal("a process without a root".to_owned());
    let ((root, others), (root_shown, shown)) = op.mounts.split_first().zip(shown.split_first()).ok_or_else(without_root)?;
    let root_source = state(driver, root, root_shown.snapshot.as_ref(), &mut states)?;
    let mut mounts = Vec::with_capacity(others.len());
    for ((mount, shown), cache) in others.iter().zip(shown).zip(caches.iter().skip(1)) {
        let source = match &mount.kind {
            MountKind::Bind => {
                let whole = state(driver, mount, shown.snapshot.as_ref(), &mut states)?;
                match &shown.part {
                    None => BindSource::Mount(whole),
                    Some(path) => BindSource::Part { mount: whole, path: path.clone() },
                }
            }
            MountKind::Cache(_) => cache_source(mount, cache.as_deref())?,
            MountKind::Tmpfs { size } => BindSource::Tmpfs { size: *size, mode: TMPFS_MODE },
            MountKind::Secret(secret) => match options.secrets.get(&secret.id) {
                Some(content) => {
                    BindSource::File { content: content.clone(), mode: secret.mode, uid: secret.uid, gid: secret.gid }
                }
                None => continue,
            },
            MountKind::Ssh(_) => return Err(WorkError::NotSupported("`RUN --mount=type=ssh`".to_owned())),
        };
        let readonly = mount.readonly || matches!(mount.kind, MountKind::Secret(_));
        mounts.push(BindMount { source, target: PathBuf::from(&mount.target), readonly });
    }
    Ok(Prepared { spec: spec(options, op, root_source, root.readonly, mounts), states })
}

/// The directory of a cache, or with `source=` what is there in it.
fn cache_source(mount: &Mount, directory: Option<&Path>) -> Result<BindSource, WorkError> {
    let directory = directory.ok_or_else(|| WorkError::Internal("a cache mount without a directory".to_owned()))?;
    match &mount.selector {
        None => Ok(BindSource::Path(directory.to_owned())),
        Some(path) => {
            let failed = |source| WorkError::State { step: "mount a cache", source };
            let mount = MountSource::Detached(rbuild_fs::mount::open_tree_clone(directory, false).map_err(failed)?);
            Ok(BindSource::Part { mount, path: PathBuf::from(path) })
        }
    }
}

fn spec(options: &WorkerOptions, op: &ExecOp, root: MountSource, readonly_root: bool, mounts: Vec<BindMount>) -> Spec {
    let network = match op.network {
        NetworkMode::Sandbox | NetworkMode::Host => Network::Host,
        NetworkMode::None => Network::None,
    };
    Spec {
        root,
        readonly_root,
        args: op.args.clone(),
        env: environment(op, options),
        cwd: op.cwd.clone(),
        user: op.user.clone(),
        hostname: op.hostname.clone(),
        network,
        mounts,
        clean_stubs: true,
        hosts: Some(hosts(&op.hostname, &op.extra_hosts)),
        resolv_conf: Some(resolv_conf(network == Network::Host)),
        privileged: op.security == SecurityMode::Insecure,
        shm_size: op.shm_size.unwrap_or(SHM_SIZE),
        ulimits: op.ulimits.iter().map(|limit| (limit.name.clone(), limit.soft, limit.hard)).collect(),
    }
}

/// The declared variables, proxies in both spellings where they are not declared, and secrets.
fn environment(op: &ExecOp, options: &WorkerOptions) -> Vec<String> {
    let mut env = op.env.clone();
    for (name, value) in &op.proxy.variables {
        for name in [name.to_uppercase(), name.to_lowercase()] {
            if !env.iter().any(|variable| variable.split('=').next() == Some(&name)) {
                env.push(format!("{name}={value}"));
            }
        }
    }
    for secret in &op.secret_env {
        if let Some(value) = options.secrets.get(&secret.id) {
            env.push(format!("{}={}", secret.name, String::from_utf8_lossy(value)));
        }
    }
    env
}

/// An input as a mount: the state itself where nothing can be written, else a new state on top of it.
fn state(
    driver: &dyn SnapshotDriver,
    mount: &Mount,
    input: Option<&Snapshot>,
    states: &mut Vec<(Option<OutputIndex>, ActiveSnapshot)>,
) -> Result<MountSource, WorkError> {
    let mounted = |source| WorkError::Snapshot { step: "mounted", source };
    if let (Some(snapshot), true, None) = (input, mount.readonly, mount.output) {
        return driver.mount_readonly(snapshot).map_err(mounted);
    }
    let active = driver.prepare(input).map_err(|source| WorkError::Snapshot { step: "prepared", source })?;
    let source = driver.mount(&active).map_err(mounted)?;
    states.push((mount.output, active));
    Ok(source)
}
