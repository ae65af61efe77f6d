//! The static release binary: static-pie glibc, checked in an empty chroot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{checked, quiet};
use crate::setup::{base, project};

/// Builds and checks.
pub(crate) fn run() -> Result<()> {
    base()?;
    let rbuild = build()?;
    check(&rbuild)?;
    eprintln!("{} ({} bytes)", rbuild.display(), fs_err::metadata(&rbuild)?.len());
    Ok(())
}

/// Builds the release binary, statically linked for this host's architecture.
pub(crate) fn build() -> Result<PathBuf> {
    let host = host_triple()?;
    let flags = r#"["-C","target-feature=+crt-static","--cfg","getrandom_backend=\"linux_getrandom\""]"#;
    let target_dir = project().join("target/dist");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(project()).args(["build", "--release", "--package", "rbuild-cli", "--target", &host]);
    cargo.arg("--config").arg(format!("target.{host}.rustflags={flags}")).arg("--target-dir").arg(&target_dir);
    checked(&mut cargo)?;
    Ok(target_dir.join(&host).join("release/rbuild"))
}

fn host_triple() -> Result<String> {
    let version = quiet(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not name its host")?;
    Ok(host.to_owned())
}

/// Start-up time, and the commands that must work where nothing but the binary is.
pub(crate) fn check(rbuild: &Path) -> Result<()> {
    let median = version_time(rbuild)?;
    eprintln!("`rbuild --version` takes {:.2} ms (median of 20)", median.as_secs_f64() * 1e3);
    if !rustix::process::geteuid().is_root() {
        bail!("the check in an empty chroot needs root");
    }
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    fs_err::copy(rbuild, at("rbuild"))?;
    fs_err::create_dir(at("tree"))?;
    fs_err::write(at("tree/hello"), "hello\n")?;
    let inside = |args: &[&str]| {
        let mut command = Command::new("chroot");
        command.env_clear().arg(dir.path()).arg("/rbuild").args(["--root", "/state"]).args(args);
        command
    };
    for args in [
        &["import", "/tree", "hello:1"][..],
        &["tag", "hello:1", "hello:2"],
        &["save", "-o", "/hello.tar", "hello:1", "hello:2"],
        &["rmi", "hello:1", "hello:2"],
        &["load", "-i", "/hello.tar"],
        &["images"],
    ] {
        let output = quiet(&mut inside(args)).with_context(|| format!("in an empty chroot: rbuild {}", args.join(" ")))?;
        if args == ["images"] && !output.contains("hello") {
            bail!("the image that was loaded is not listed:\n{output}");
        }
    }
    let refused = inside(&["run", "--rm", "hello:1", "/hello"]).output()?;
    let message = String::from_utf8_lossy(&refused.stderr);
    if refused.status.success() || !message.contains("/proc") {
        bail!("`run` without /proc should say that it needs it: {message}");
    }
    Ok(())
}

fn version_time(rbuild: &Path) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        quiet(Command::new(rbuild).arg("--version"))?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}
