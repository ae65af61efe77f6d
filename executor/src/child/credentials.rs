//! Limits, groups, user and capabilities of the command (spec §6.3).

use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::error::{ExecutorError, Step};
use crate::user::ResolvedUser;

/// docker's default set: 00000000a80425fb.
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Bits that a kernel can have.
const MAX_CAPABILITIES: u32 = 64;

/// Gives up everything that the command is not to have. The process is single-threaded, so the thread's credentials are its own.
pub(super) fn apply(user: &ResolvedUser, ulimits: &[(String, i64, i64)], privileged: bool) -> Result<(), ExecutorError> {
    for (name, soft, hard) in ulimits {
        limit(name, *soft, *hard)?;
    }
    let gid = Gid::from_raw(user.gid);
    // The primary group belongs to the list, or a negative permission of that group could be dodged (CVE-2023-25173).
    let groups: Vec<Gid> =
        [user.gid].into_iter().chain(user.groups.iter().copied().filter(|group| *group != user.gid)).map(Gid::from_raw).collect();
    set_thread_groups(&groups).step(|| "set supplementary groups")?;
    set_thread_res_gid(gid, gid, gid).step(|| format!("change to group {}", user.gid))?;
    let kept = if privileged { CapabilitySet::all() } else { DEFAULT };
    drop_bounding(kept)?;
    let uid = Uid::from_raw(user.uid);
    set_thread_res_uid(uid, uid, uid).step(|| format!("change to user {}", user.uid))?;
    clear_ambient_capability_set().step(|| "clear ambient capabilities")?;
    // Another user than root has none left by now; inheritable stays empty for root as well (CVE-2022-24769).
    let permitted = capabilities(None).step(|| "read its capabilities")?.permitted & kept;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).step(|| "drop capabilities")
}

fn drop_bounding(kept: CapabilitySet) -> Result<(), ExecutorError> {
    for bit in 0..MAX_CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // Past the kernel's last one.
            Err(rustix::io::Errno::INVAL) => break,
            removed => removed.step(|| "drop capabilities from the bounding set")?,
        }
    }
    Ok(())
}

fn limit(name: &str, soft: i64, hard: i64) -> Result<(), ExecutorError> {
    let resource = match name {
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        "as" => Resource::As,
        _ => return Err(std::io::Error::from(rustix::io::Errno::INVAL)).step(|| format!("set the unknown limit `{name}`")),
    };
    // -1, as any negative number, is unlimited.
    let value = |limit: i64| u64::try_from(limit).ok();
    let new = Rlimit { current: value(soft), maximum: value(hard) };
    setrlimit(resource, new).step(|| format!("set the limit `{name}` to {soft}:{hard}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_dockers() {
        assert_eq!(DEFAULT.bits(), 0xa804_25fb);
    }
}
