//! `COPY --parents`: a source keeps its path below the target, from the `/./` pivot on, and patterns are those of `.dockerignore`, so
//! that `**` works (spec §1.5).
//!
//! No link is followed behind the pivot; a link that is named is copied as a link. Directories on the way come with their mode and
//! owner. What `--exclude` leaves out is relative to the pivot.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rbuild_fs::ignore::{Line, Matcher};
use rbuild_fs::{Kind, Stat, WalkEntry, glob};

use crate::WorkError;
use crate::select::{self, missing};
use crate::tree::Tree;

/// What one source argument names.
pub(crate) struct Kept {
    /// The directory before the pivot, links followed.
    pub(crate) base: PathBuf,
    /// Time that the target gets: that of `base`, where it was named by a pivot or is the whole source.
    pub(crate) top: Option<(i64, u32)>,
    /// Relative to `base`, parents before children.
    pub(crate) entries: Vec<KeptEntry>,
}

/// A path that is copied.
pub(crate) struct KeptEntry {
    pub(crate) entry: WalkEntry,
    /// Whether it is only on the way to what was asked for.
    pub(crate) on_the_way: bool,
}

/// Finds what a source names: `/before/./after`, or `/path` that is kept whole; one [`Kept`] for each directory before the pivot. What
/// has no wildcard must exist.
pub(crate) fn find(tree: &Tree, path: &str, wildcard: bool, exclude: Option<&Matcher>) -> Result<Vec<Kept>, WorkError> {
    let (before, after, pivot) = match path.split_once("/./") {
        Some((before, after)) => (before, after.trim_matches('/'), true),
        None => ("", path.trim_matches('/'), false),
    };
    let before = format!("/{}", before.trim_start_matches('/'));
    let has_time = pivot || after.is_empty();
    let mut found = Vec::new();
    for base in select::find(tree, &before, wildcard && glob::has_meta(&before), true)? {
        if base.stat.kind != Kind::Dir {
            continue;
        }
        let entries = match below(tree, &base.path, after, wildcard, exclude)? {
            Some(entries) => entries,
            None if wildcard => Vec::new(),
            None => return Err(missing(tree, &format!("{}/{after}", before.trim_end_matches('/')))),
        };
        let top = (has_time && (after.is_empty() || !entries.is_empty())).then_some(base.stat.mtime);
        found.push(Kept { base: base.path, top, entries });
    }
    if found.is_empty() && !wildcard {
        return Err(missing(tree, &format!("{}/{after}", before.trim_end_matches('/'))));
    }
    Ok(found)
}

/// What `after` names below a directory; `None` when a name without wildcards is not there.
fn below(
    tree: &Tree,
    base: &Path,
    after: &str,
    wildcard: bool,
    exclude: Option<&Matcher>,
) -> Result<Option<Vec<KeptEntry>>, WorkError> {
    let (literal, pattern) = split(after, wildcard && (glob::has_meta(after) || after.contains('\\')));
    let Some(mut on_the_way) = literal_part(tree, base, &literal)? else { return Ok(None) };
    let mut entries: Vec<(WalkEntry, bool)> = Vec::new();
    let is_directory = on_the_way.last().is_none_or(|last| last.stat.kind == Kind::Dir);
    let listed = if is_directory { list(tree, base, &literal)? } else { Vec::new() };
    if pattern.is_empty() {
        // The path itself was asked for, with all below it.
        entries.extend(on_the_way.pop().into_iter().chain(listed).map(|entry| (entry, true)));
    } else {
        let include = matcher(pattern)?;
        let mut matched = Inherited::new(&include);
        entries.extend(listed.into_iter().map(|entry| {
            let is_match = matched.covers(&entry);
            (entry, is_match)
        }));
    }
    if let Some(exclude) = exclude {
        let mut excluded = Inherited::new(exclude);
        for entry in &on_the_way {
            excluded.covers(entry);
        }
        for (entry, wanted) in &mut entries {
            *wanted &= !excluded.covers(entry);
        }
    }
    Ok(Some(with_ways(on_the_way, entries)))
}

/// The names before the first wildcard, and whether a pattern follows (then it is not empty).
fn split(after: &str, wildcard: bool) -> (PathBuf, &str) {
    if !wildcard {
        return (PathBuf::from(after), "");
    }
    let literal: PathBuf = after.split('/').take_while(|name| !glob::has_meta(name) && !name.contains('\\')).collect();
    (literal, after)
}

/// The status of each name of a path below `base`; `None` when it is not there.
fn literal_part(tree: &Tree, base: &Path, path: &Path) -> Result<Option<Vec<WalkEntry>>, WorkError> {
    let mut entries: Vec<WalkEntry> = Vec::new();
    let mut at = PathBuf::new();
    for name in path {
        if entries.last().is_some_and(|above| above.stat.kind != Kind::Dir) {
            return Ok(None);
        }
        at.push(name);
        let Some(stat) = tree.stat(&base.join(&at))? else { return Ok(None) };
        entries.push(WalkEntry { path: at.clone(), stat });
    }
    Ok(Some(entries))
}

/// All below a directory, relative to `base`.
fn list(tree: &Tree, base: &Path, directory: &Path) -> Result<Vec<WalkEntry>, WorkError> {
    let path = if directory.as_os_str().is_empty() { base.to_owned() } else { base.join(directory) };
    let listing = tree.list(&path)?;
    Ok(listing.iter().map(|entry| WalkEntry { path: directory.join(&entry.path), stat: entry.stat.clone() }).collect())
}

/// A pattern of `.dockerignore`'s language; a leading `!` is a character like others here.
fn matcher(pattern: &str) -> Result<Matcher, WorkError> {
    let pattern = if pattern.starts_with('!') { format!("\\{pattern}") } else { pattern.to_owned() };
    let file = "--parents".to_owned();
    Matcher::new(&[Line { number: 1, pattern }]).map_err(|source| WorkError::Ignore { file, source })
}

/// Asks a matcher about the paths of a walk, handing on what directories hand on.
struct Inherited<'m> {
    matcher: &'m Matcher,
    states: HashMap<PathBuf, rbuild_fs::ignore::ParentMatch>,
}

impl<'m> Inherited<'m> {
    fn new(matcher: &'m Matcher) -> Inherited<'m> {
        Inherited { matcher, states: HashMap::new() }
    }

    fn covers(&mut self, entry: &WalkEntry) -> bool {
        let parent = entry.path.parent().and_then(|parent| self.states.get(parent));
        let (covered, _, state) = self.matcher.matches(&entry.path, parent);
        if entry.stat.kind == Kind::Dir {
            self.states.insert(entry.path.clone(), state);
        }
        covered
    }
}

/// What is wanted, and the directories that lead there.
fn with_ways(on_the_way: Vec<WalkEntry>, entries: Vec<(WalkEntry, bool)>) -> Vec<KeptEntry> {
    let needed: HashSet<PathBuf> = entries
        .iter()
        .filter(|(_, wanted)| *wanted)
        .flat_map(|(entry, _)| entry.path.ancestors().skip(1))
        .map(Path::to_owned)
        .collect();
    let all = on_the_way.into_iter().map(|entry| (entry, false)).chain(entries);
    all.filter(|(entry, wanted)| *wanted || needed.contains(&entry.path))
        .map(|(entry, wanted)| KeptEntry { entry, on_the_way: !wanted })
        .collect()
}

/// Its status as it is copied: a directory on the way is as new as other directories that a copy makes.
pub(crate) fn status(kept: &KeptEntry, created: (i64, u32)) -> Stat {
    let Stat { mtime, .. } = kept.entry.stat;
    Stat { mtime: if kept.on_the_way { created } else { mtime }, ..kept.entry.stat.clone() }
}
