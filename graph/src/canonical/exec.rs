//! Processes and their mounts.

use super::op::{encode_input, encode_output};
use crate::{
    CacheMount, CacheSharing, Encoder, ExecOp, ExtraHost, Mount, MountKind, NetworkMode, ProxyEnv, SecretEnv, SecretMount,
    SecurityMode, SshMount, Ulimit,
};

pub(super) fn encode(to: &mut Encoder, exec: &ExecOp) {
    let ExecOp {
        args,
        env,
        cwd,
        user,
        hostname,
        network,
        security,
        extra_hosts,
        ulimits,
        shm_size,
        cgroup_parent,
        proxy: ProxyEnv { variables },
        secret_env,
        mounts,
    } = exec;
    to.list(args, |to, arg| to.text(arg));
    to.list(env, |to, variable| to.text(variable));
    to.text(cwd);
    to.text(user);
    to.text(hostname);
    encode_network(to, *network);
    encode_security(to, *security);
    to.list(extra_hosts, encode_extra_host);
    to.list(ulimits, encode_ulimit);
    to.option(cgroup_parent.as_deref(), Encoder::text);
    to.list(secret_env, encode_secret_env);
    to.list(mounts, encode_mount);
    if to.is_key() {
        encode_mixed_selectors(to, mounts);
    } else {
        to.option(shm_size.as_ref(), |to, size| to.u64(*size));
        to.list(variables, |to, (name, value)| {
            to.text(name);
            to.text(value);
        });
    }
}

fn encode_network(to: &mut Encoder, network: NetworkMode) {
    to.tag(match network {
        NetworkMode::Sandbox => 1,
        NetworkMode::Host => 2,
        NetworkMode::None => 3,
    });
}

fn encode_security(to: &mut Encoder, security: SecurityMode) {
    to.tag(match security {
        SecurityMode::Sandbox => 1,
        SecurityMode::Insecure => 2,
    });
}

fn encode_extra_host(to: &mut Encoder, ExtraHost { name, address }: &ExtraHost) {
    to.text(name);
    if !to.is_key() {
        to.text(&address.to_string());
    }
}

fn encode_ulimit(to: &mut Encoder, Ulimit { name, soft, hard }: &Ulimit) {
    to.text(name);
    to.i64(*soft);
    to.i64(*hard);
}

fn encode_secret_env(to: &mut Encoder, SecretEnv { id, name, required }: &SecretEnv) {
    to.text(id);
    to.text(name);
    to.bool(*required);
}

/// Where one mount takes all of an input and another a part, the link's selector is the whole input and says nothing of the part, which is
/// therefore in the key. Nothing follows in a key, so that the usual case, none, can be left out.
fn encode_mixed_selectors(to: &mut Encoder, mounts: &[Mount]) {
    let whole = |mount: &Mount| mounts.iter().any(|other| other.input == mount.input && other.selector.is_none());
    let mixed: Vec<&Mount> =
        mounts.iter().filter(|mount| mount.input.is_some() && mount.selector.is_some() && whole(mount)).collect();
    if !mixed.is_empty() {
        to.list(&mixed, |to, mount| {
            to.text(&mount.target);
            to.option(mount.selector.as_deref(), Encoder::text);
        });
    }
}

fn encode_mount(to: &mut Encoder, mount: &Mount) {
    let Mount { input, selector, target, output, readonly, kind } = mount;
    to.option(input.as_ref(), encode_input);
    if !to.is_key() {
        to.option(selector.as_deref(), Encoder::text);
    }
    to.text(target);
    to.option(output.as_ref(), encode_output);
    to.bool(*readonly);
    match kind {
        MountKind::Bind => to.tag(1),
        MountKind::Cache(cache) => {
            to.tag(2);
            encode_cache_mount(to, cache, target);
        }
        MountKind::Tmpfs { size } => {
            to.tag(3);
            to.option(size.as_ref(), |to, size| to.u64(*size));
        }
        MountKind::Secret(SecretMount { id, mode, uid, gid, required })
        | MountKind::Ssh(SshMount { id, mode, uid, gid, required }) => {
            to.tag(if matches!(kind, MountKind::Secret(_)) { 4 } else { 5 });
            to.text(id);
            to.u32(*mode);
            to.u32(*uid);
            to.u32(*gid);
            to.bool(*required);
        }
    }
}

/// A cache's default id is its mount point; only whether it is that counts in a key.
fn encode_cache_mount(to: &mut Encoder, cache: &CacheMount, target: &str) {
    let CacheMount { id, sharing, mode, uid, gid } = cache;
    if to.is_key() {
        to.bool(id == target);
    } else {
        to.text(id);
        to.tag(match sharing {
            CacheSharing::Shared => 1,
            CacheSharing::Private => 2,
            CacheSharing::Locked => 3,
        });
    }
    to.u32(*mode);
    to.u32(*uid);
    to.u32(*gid);
}
