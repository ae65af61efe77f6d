//! Exec: one process over mounted inputs.

use std::net::IpAddr;

use crate::{InputIndex, OutputIndex};

/// Runs a process on a root file system with further mounts. Outputs are the mounts that name an [`OutputIndex`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOp {
    /// The argument vector, never empty.
    pub args: Vec<String>,
    /// `NAME=value`, in order; later entries win.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// `user[:group]` by name or number; empty means root.
    pub user: String,
    /// Host name of the sandbox.
    pub hostname: String,
    /// Which network it sees.
    pub network: NetworkMode,
    /// How far it is confined.
    pub security: SecurityMode,
    /// Extra lines of `/etc/hosts`; the names are in the key, the addresses are not.
    pub extra_hosts: Vec<ExtraHost>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Size of `/dev/shm` in bytes; `None` is 64 MiB. Not in the key.
    pub shm_size: Option<u64>,
    /// Parent cgroup.
    pub cgroup_parent: Option<String>,
    /// Proxy variables set at execution. Not in the key.
    pub proxy: ProxyEnv,
    /// Secrets in the environment.
    pub secret_env: Vec<SecretEnv>,
    /// The mounts; exactly one has the destination `/` and comes first.
    pub mounts: Vec<Mount>,
}

/// Which network a process sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkMode {
    /// The default sandbox network (for now the host's).
    Sandbox,
    /// The host's.
    Host,
    /// Loopback only.
    None,
}

/// How far a process is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityMode {
    /// Docker's default confinement.
    Sandbox,
    /// Privileged (`RUN --security=insecure`).
    Insecure,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// A resource limit in docker's names: `nofile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, lower case.
    pub name: String,
    /// Soft limit, -1 is unlimited.
    pub soft: i64,
    /// Hard limit, -1 is unlimited.
    pub hard: i64,
}

/// Proxy variables (`HTTP_PROXY` …): name and value, set in upper and lower case.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProxyEnv {
    /// `(NAME, value)` in the order given.
    pub variables: Vec<(String, String)>,
}

/// A secret as a variable (`RUN --mount=type=secret,env=`). The value is never in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEnv {
    /// Id of the secret.
    pub id: String,
    /// The variable.
    pub name: String,
    /// Whether its absence is an error.
    pub required: bool,
}

/// One mount of an Exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where its files come from; `None` is the empty file system.
    pub input: Option<InputIndex>,
    /// Path inside the input that is mounted; `None` is its root.
    pub selector: Option<String>,
    /// Mount point, absolute; `/` for the root file system.
    pub target: String,
    /// The output that the mount's final state becomes; `None` discards writes.
    pub output: Option<OutputIndex>,
    /// Whether writing is refused.
    pub readonly: bool,
    /// What kind of mount.
    pub kind: MountKind,
}

/// Kinds of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// The input itself; writes are discarded unless there is an output.
    Bind,
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// Memory, `size` in bytes (`None`: half of RAM).
    Tmpfs {
        /// Limit in bytes.
        size: Option<u64>,
    },
    /// A secret's value as a file.
    Secret(SecretMount),
    /// The SSH agent's socket.
    Ssh(SshMount),
}

/// `type=cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    /// Identity across builds.
    pub id: String,
    /// What concurrent users see.
    pub sharing: CacheSharing,
    /// Permission bits of a new cache directory.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Who may use one cache mount at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheSharing {
    /// All at once.
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// `type=secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMount {
    /// Id of the secret.
    pub id: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether its absence is an error.
    pub required: bool,
}

/// `type=ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshMount {
    /// Id of the agent.
    pub id: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether its absence is an error.
    pub required: bool,
}
