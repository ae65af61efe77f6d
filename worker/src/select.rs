//! Which paths of a tree a source argument names: literals and wildcards (spec G-32..G-39).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rbuild_fs::{Kind, Stat, glob};

use crate::WorkError;
use crate::similar::similar;
use crate::tree::Tree;

/// One path that a source argument names.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    /// Its own name, which a file keeps when it is copied into a directory; empty for the root.
    pub(crate) name: OsString,
    /// Where it really is, links followed as asked.
    pub(crate) path: PathBuf,
    pub(crate) stat: Stat,
    /// Whether the path itself is a link.
    pub(crate) is_link: bool,
}

/// All that a source argument names, in the order of a walk. A literal path must exist; a wildcard may match nothing.
pub(crate) fn find(tree: &Tree, path: &str, wildcard: bool, follow: bool) -> Result<Vec<Match>, WorkError> {
    let (base, pattern) = if wildcard { split(path) } else { (PathBuf::from(path), String::new()) };
    if pattern.is_empty() {
        return locate(tree, &base, follow)?.map(|found| vec![found]).ok_or_else(|| missing(tree, path));
    }
    let Some((base, stat)) = tree.resolve(&base, true)? else { return Ok(Vec::new()) };
    if stat.kind != Kind::Dir {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    expand(tree, &base, "", &pattern, &mut paths)?;
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        // A link that leads nowhere cannot be copied; it is named as missing.
        let dangling = || missing(tree, &path.to_string_lossy());
        found.push(locate(tree, &path, follow)?.ok_or_else(dangling)?);
    }
    Ok(found)
}

fn locate(tree: &Tree, path: &Path, follow: bool) -> Result<Option<Match>, WorkError> {
    let Some((own, own_stat)) = tree.resolve(path, false)? else { return Ok(None) };
    let name = path.file_name().map(OsString::from).unwrap_or_default();
    let is_link = own_stat.kind == Kind::Symlink;
    if !is_link || !follow {
        return Ok(Some(Match { name, path: own, stat: own_stat, is_link }));
    }
    Ok(tree.resolve(path, true)?.map(|(path, stat)| Match { name, path, stat, is_link }))
}

/// The leading directories without wildcards, and the rest as a pattern; empty when there is no wildcard.
fn split(path: &str) -> (PathBuf, String) {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let literal = names.iter().take_while(|name| !glob::has_meta(name)).count();
    let mut base = PathBuf::from("/");
    base.extend(&names[..literal]);
    (base, names[literal..].join("/"))
}

/// Walks below `directory` as deep as the pattern can reach. What matches is not descended into.
fn expand(tree: &Tree, directory: &Path, prefix: &str, pattern: &str, found: &mut Vec<PathBuf>) -> Result<(), WorkError> {
    let depth = prefix.matches('/').count();
    for (name, stat) in tree.read_dir(directory)? {
        let mut relative = prefix.as_bytes().to_vec();
        relative.extend_from_slice(name.as_bytes());
        let path = directory.join(&name);
        if glob::matches(pattern, &relative)? {
            found.push(path);
        } else if stat.kind == Kind::Dir && may_lead_to(pattern, &relative, depth)? {
            // A name that is not UTF-8 was matched as bytes above; below it, replacement characters only cost a look.
            let prefix = format!("{}/", String::from_utf8_lossy(&relative));
            expand(tree, &path, &prefix, pattern, found)?;
        }
    }
    Ok(())
}

/// Whether something below a directory could match. Only a class in brackets matches `/` in Go, so without one the levels are those
/// of the pattern.
fn may_lead_to(pattern: &str, directory: &[u8], depth: usize) -> Result<bool, WorkError> {
    let levels = pattern.matches('/').count();
    if pattern.contains('[') || pattern.contains('\\') {
        return Ok(depth < levels + pattern.matches('[').count());
    }
    if depth >= levels {
        return Ok(false);
    }
    let upper: Vec<&str> = pattern.split('/').take(depth + 1).collect();
    Ok(glob::matches(&upper.join("/"), directory)?)
}

/// BuildKit's message for a path that is not there, with what may help.
pub(crate) fn missing(tree: &Tree, path: &str) -> WorkError {
    let path = Path::new("/").join(path.trim_start_matches('/'));
    let excluded = tree.exclusion(&path).ok().flatten().map(Box::new);
    let similar = if excluded.is_none() { beside(tree, &path) } else { Vec::new() };
    WorkError::SourceMissing { reference: tree.name().to_owned(), path: path.to_string_lossy().into_owned(), excluded, similar }
}

fn beside(tree: &Tree, path: &Path) -> Vec<String> {
    let (Some(name), Some(parent)) = (path.file_name().and_then(|name| name.to_str()), path.parent()) else { return Vec::new() };
    let Ok(Some((parent, stat))) = tree.resolve(parent, true) else { return Vec::new() };
    if stat.kind != Kind::Dir {
        return Vec::new();
    }
    let names = tree.read_dir(&parent).unwrap_or_default();
    let near = similar(name, names.iter().filter_map(|(name, _)| name.to_str()));
    near.into_iter().map(|name| parent.join(name).to_string_lossy().into_owned()).collect()
}
