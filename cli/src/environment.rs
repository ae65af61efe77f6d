//! The environment: the only place that reads variables.
#![allow(clippy::disallowed_methods, reason = "this is the cli's configuration")]

use std::ffi::OsString;
use std::path::PathBuf;

/// A variable of any name, for `--build-arg NAME` and `-e NAME`. A value that is not Unicode counts as absent.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable of any name, for `--secret id=ID,env=NAME`: its bytes, whatever they are.
pub(crate) fn secret(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec)
}

/// `RBUILD_ROOT`.
pub(crate) fn root() -> Option<PathBuf> {
    set("RBUILD_ROOT").map(PathBuf::from)
}

/// Where a user's programs keep their data: `XDG_DATA_HOME`, or `~/.local/share`.
pub(crate) fn data_home() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    set("XDG_DATA_HOME")
        .and_then(|path| absolute(path.into()))
        .or_else(|| set("HOME").and_then(|home| absolute(home.into())).map(|home| home.join(".local/share")))
}

/// `BUILDKIT_PROGRESS`: the default of `--progress`.
pub(crate) fn progress() -> Option<String> {
    variable("BUILDKIT_PROGRESS").filter(|value| !value.is_empty())
}

/// Whether colours are unwanted: `NO_COLOR`, or a terminal that has none.
pub(crate) fn no_color() -> bool {
    set("NO_COLOR").is_some() || dumb_terminal()
}

/// Whether the terminal cannot move its cursor.
pub(crate) fn dumb_terminal() -> bool {
    set("TERM").is_none_or(|term| term == "dumb")
}

/// `BUILDKIT_TTY_LOG_LINES`: how many lines of a step's output the terminal shows.
pub(crate) fn terminal_log_lines() -> Option<usize> {
    variable("BUILDKIT_TTY_LOG_LINES")?.parse().ok()
}

/// `SOURCE_DATE_EPOCH`, passed on as a build argument as buildx does.
pub(crate) fn source_date_epoch() -> Option<String> {
    variable("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty())
}

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in lower case, for what rbuild itself fetches.
pub(crate) fn proxies() -> rbuild_http::ProxyConfig {
    let either = |upper: &str, lower: &str| [upper, lower].into_iter().filter_map(variable).find(|value| !value.is_empty());
    rbuild_http::ProxyConfig {
        http: either("HTTP_PROXY", "http_proxy"),
        https: either("HTTPS_PROXY", "https_proxy"),
        no_proxy: either("NO_PROXY", "no_proxy"),
    }
}

fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
