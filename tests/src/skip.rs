//! Reported skips: a test that cannot run says why, where `cargo xtask test` counts it.

use std::io::Write;
use std::path::Path;

/// Records that the calling test did not run.
pub fn skip(test: &str, reason: &str) {
    let line = format!("{test}: {reason}\n");
    if let Some(file) = std::env::var_os("RBUILD_TEST_SKIPS") {
        let file = fs_err::OpenOptions::new().append(true).create(true).open(Path::new(&file));
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skipped tests can be written");
    }
    eprint!("skipped {line}");
}

/// Whether the programs are there; records a skip when not.
#[must_use]
pub fn needs(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = |program: &str| path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(program).exists());
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !found(program)).collect();
    if !missing.is_empty() {
        skip(test, &format!("needs {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// Whether this process is root; records a skip when not.
#[must_use]
pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}
