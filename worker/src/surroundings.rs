//! What a process finds around it: `/etc/hosts` and `/etc/resolv.conf` (spec G-70).

use std::fmt::Write;
use std::path::Path;

use rbuild_graph::ExtraHost;

/// Where systemd-resolved keeps the real name servers.
const SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// `/etc/hosts` of a sandbox.
pub(crate) fn hosts(hostname: &str, extra: &[ExtraHost]) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for ExtraHost { name, address } in extra {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// `/etc/resolv.conf` of a sandbox, from this machine's. `host_network`: local name servers can be reached.
pub(crate) fn resolv_conf(host_network: bool) -> String {
    let read = |path: &str| fs_err::read_to_string(Path::new(path)).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    if host_network {
        return if name_servers(&own).next().is_some() { own } else { without_local("") };
    }
    let behind_stub = name_servers(&own).all(|server| server.starts_with("127.0.0.53"));
    without_local(&if behind_stub { read(SYSTEMD) } else { own })
}

fn name_servers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next())
}

/// Without name servers that only answer on this machine; public ones where none is left, as docker does.
fn without_local(text: &str) -> String {
    let is_local = |line: &&str| name_servers(line).any(|server| server.starts_with("127.") || server == "::1");
    let mut kept: String = text.lines().filter(|line| !is_local(line)).fold(String::new(), |text, line| text + line + "\n");
    if name_servers(&kept).next().is_none() {
        for server in ["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"] {
            kept = kept + "nameserver " + server + "\n";
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_file() {
        let extra = [ExtraHost { name: "db".to_owned(), address: "10.0.0.7".parse().unwrap() }];
        assert_eq!(
            hosts("sandbox", &extra),
            "127.0.0.1\tlocalhost sandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.7\tdb\n"
        );
    }

    #[test]
    fn local_name_servers_are_left_out() {
        let text = "# comment\nsearch example.com\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nnameserver ::1\noptions edns0\n";
        assert_eq!(without_local(text), "# comment\nsearch example.com\nnameserver 10.1.1.1\noptions edns0\n");
        assert!(without_local("nameserver 127.0.0.1\n").starts_with("nameserver 8.8.8.8\n"));
    }
}
