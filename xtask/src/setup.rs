//! Installs what a fresh Debian machine lacks, from Debian's packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{checked, command};

/// A program or file that is needed, and the package that has it.
struct Need {
    path: &'static str,
    package: &'static str,
}

const fn need(path: &'static str, package: &'static str) -> Need {
    Need { path, package }
}

/// To build rbuild and its example images.
const BASE: &[Need] = &[
    need("/usr/bin/gcc", "gcc"),
    need("/usr/include/stdio.h", "libc6-dev"),
    need("/bin/busybox", "busybox-static"),
    need("/usr/bin/mmdebstrap", "mmdebstrap"),
    need("/usr/bin/git", "git"),
];

/// The peers that tests and benchmarks compare with.
const PEERS: &[Need] = &[
    need("/usr/bin/skopeo", "skopeo"),
    need("/usr/bin/umoci", "umoci"),
    need("/usr/bin/buildah", "buildah"),
    need("/usr/sbin/runc", "runc"),
    need("/usr/bin/python3", "python3"),
    need("/usr/bin/zstd", "zstd"),
    need("/usr/bin/xz", "xz-utils"),
    need("/usr/bin/bzip2", "bzip2"),
    need("/sbin/setcap", "libcap2-bin"),
    need("/usr/bin/openssl", "openssl"),
    need("/usr/bin/pgrep", "procps"),
    need("/usr/bin/script", "bsdutils"),
    need("/usr/bin/unshare", "util-linux"),
];

/// What the demo needs.
pub(crate) fn base() -> Result<()> {
    install(BASE)
}

/// What tests and benchmarks need.
pub(crate) fn all() -> Result<()> {
    install(BASE)?;
    install(PEERS)
}

fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs.iter().filter(|need| !Path::new(need.path).exists()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("please install what Debian calls: {}", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    checked(&mut as_root(&["apt-get", "update", "-qq"])).context("apt-get update")?;
    let mut words = vec!["apt-get", "install", "-y", "-qq", "--no-install-recommends"];
    words.extend(&missing);
    let mut install = as_root(&words);
    install.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::process::Stdio::null());
    checked(&mut install)
}

/// A command as root: itself, or through sudo.
pub(crate) fn as_root(words: &[&str]) -> std::process::Command {
    if rustix::process::geteuid().is_root() {
        return command(words);
    }
    let mut sudo = vec!["sudo", "--preserve-env=DEBIAN_FRONTEND"];
    sudo.extend(words);
    command(&sudo)
}

/// The checkout's root.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the checkout").to_owned()
}

/// Where base images are kept between runs and between checkouts.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        (_, None) => project().join(".cache"),
    };
    let dir = base.join("rbuild-xtask");
    fs_err::create_dir_all(&dir)?;
    Ok(dir)
}
