//! The files by which a container finds hosts.

/// `/etc/hosts`: docker's lines, and the container's own name.
pub(super) fn hosts(hostname: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n\
         127.0.0.1\t{hostname}\n"
    )
}

/// The host's `/etc/resolv.conf`; `None` leaves the image's where the host has none.
pub(super) fn resolv_conf() -> Option<String> {
    fs_err::read_to_string("/etc/resolv.conf").ok()
}
