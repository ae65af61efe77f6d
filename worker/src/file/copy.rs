//! COPY and ADD: which source goes where (spec G-31..G-50 and §8).

use std::path::{Path, PathBuf};

use rbuild_fs::Kind;
use rbuild_fs::ignore::Matcher;
use rbuild_graph::{Archive, Copy};
use rbuild_snapshotter::{Attrs, EntryKind};

use super::archive::{self, Candidate};
use super::chmod::ModeChange;
use super::make::failed;
use super::plan::{Change, Plan};
use super::{ActionStep, resolve_owner};
use crate::WorkError;
use crate::content::{exclude_matcher, without_excluded};
use crate::error::os_error;
use crate::parents;
use crate::select::{Match, find};
use crate::tree::Tree;

/// Copies, or extracts, all sources of one action.
pub(super) fn copy(at: &ActionStep<'_>, copy: &Copy, tree: &Tree) -> Result<(), WorkError> {
    let exclude = exclude_matcher(&copy.exclude)?;
    if copy.parents {
        return copy_parents(at, copy, tree, exclude.as_ref());
    }
    let mut found = Vec::new();
    for source in &copy.sources {
        found.extend(find(tree, &source.path, source.wildcard, true)?);
    }
    found.retain(|found| !is_excluded(found, exclude.as_ref()));
    if found.is_empty() {
        return Ok(());
    }
    let change = change(at, copy)?;
    let target = Target::prepare(at, copy, &change)?;
    Copying { at, copy, tree, exclude, change: &change, target, is_top: false, matches: found.len() }.run(found)
}

fn change(at: &ActionStep<'_>, copy: &Copy) -> Result<Change, WorkError> {
    let owner = copy.owner.as_ref().map(|owner| resolve_owner(at.writer, Some(owner))).transpose()?;
    Ok(Change { owner, mode: ModeChange::new(copy.chmod.as_ref())? })
}

/// Copies sources with their paths. The destination is a directory, whatever it looks like.
fn copy_parents(at: &ActionStep<'_>, copy: &Copy, tree: &Tree, exclude: Option<&Matcher>) -> Result<(), WorkError> {
    let mut found = Vec::new();
    for source in &copy.sources {
        found.extend(parents::find(tree, &source.path, source.wildcard, exclude)?);
    }
    // The destination is made even if a pattern matches nothing in a directory that is there, as BuildKit does.
    if found.is_empty() {
        return Ok(());
    }
    let change = change(at, copy)?;
    let mut target = Target::prepare(at, copy, &change)?;
    match target.kind {
        Some(EntryKind::Dir) => {}
        None => target.make(at)?,
        Some(_) => return Err(WorkError::NonDirectory(target.path)),
    }
    let mut plan = Plan::new(tree, &change);
    let mut is_top = false;
    for kept in &found {
        for entry in &kept.entries {
            let path = &entry.entry.path;
            let (from, to) = (kept.base.join(path), target.path.join(path));
            if !(entry.on_the_way && plan.has(&from, &to)) {
                plan.add(from, to, parents::status(entry, at.time(copy.created)))?;
            }
        }
        if let Some(time) = kept.top {
            is_top = true;
            plan.add_top(target.path.clone(), time);
        }
    }
    plan.run(at)?;
    let made: Vec<PathBuf> = target.made.into_iter().filter(|path| !is_top || *path != target.path).collect();
    at.settle(&made, copy.created)
}

/// A file that is named itself is left out by its own name.
fn is_excluded(found: &Match, exclude: Option<&Matcher>) -> bool {
    found.stat.kind != Kind::Dir && exclude.is_some_and(|matcher| matcher.matches(Path::new(&found.name), None).0)
}

/// Where things go.
struct Target {
    /// Links resolved once, at the start (spec G-40).
    path: PathBuf,
    /// What is there now.
    kind: Option<EntryKind>,
    /// For directories that are made.
    attrs: Attrs,
    /// Directories that were made on the way, parents first.
    made: Vec<PathBuf>,
}

impl Target {
    /// Makes the directories above the destination, and the destination itself where a slash says that it is one.
    fn prepare(at: &ActionStep<'_>, copy: &Copy, change: &Change) -> Result<Target, WorkError> {
        let (uid, gid) = change.owner.unwrap_or((0, 0));
        let attrs = Attrs { mode: change.mode.of_parents(), uid, gid, mtime: Some(at.time(copy.created)), xattrs: Vec::new() };
        let above = match copy.target.rfind('/') {
            Some(0) | None => "/",
            Some(slash) => &copy.target[..slash],
        };
        let above = at.resolve(above, true)?;
        let mut target = Target { path: above, kind: None, attrs, made: Vec::new() };
        target.make(at)?;
        target.path = at.resolve(&copy.target, true)?;
        target.kind = at.kind(&target.path)?;
        Ok(target)
    }

    fn make(&mut self, at: &ActionStep<'_>) -> Result<(), WorkError> {
        self.kind = Some(EntryKind::Dir);
        let path = self.path.clone();
        self.make_dirs(at, &path)
    }

    /// Makes what is missing, with BuildKit's word for a file in the way.
    fn make_dirs(&mut self, at: &ActionStep<'_>, path: &Path) -> Result<(), WorkError> {
        let made = at.writer.make_dirs(path, &self.attrs).map_err(|source| match os_error(&source) {
            Some(libc::ENOTDIR | libc::EEXIST) => WorkError::NonDirectory(path.to_owned()),
            Some(_) | None => failed("make directory", path)(source),
        })?;
        self.made.extend(made);
        Ok(())
    }
}

struct Copying<'a> {
    at: &'a ActionStep<'a>,
    copy: &'a Copy,
    tree: &'a Tree,
    exclude: Option<Matcher>,
    change: &'a Change,
    target: Target,
    /// Whether the content of a directory was copied to the destination.
    is_top: bool,
    matches: usize,
}

impl Copying<'_> {
    fn run(mut self, found: Vec<Match>) -> Result<(), WorkError> {
        let mut plan = Plan::new(self.tree, self.change);
        for found in found {
            if found.stat.kind == Kind::Dir {
                self.add_directory(&mut plan, &found)?;
            } else if let Some(candidate) = self.archive(&found)? {
                // Sources count in their order, so what came before is written first.
                let planned = std::mem::replace(&mut plan, Plan::new(self.tree, self.change));
                planned.run(self.at)?;
                self.extract(candidate, &found)?;
            } else {
                self.add_file(&mut plan, found)?;
            }
        }
        if !plan.is_empty() {
            plan.run(self.at)?;
        }
        // A destination that a directory was copied to has that directory's time.
        let made: Vec<PathBuf> = self.target.made.into_iter().filter(|path| !self.is_top || *path != self.target.path).collect();
        self.at.settle(&made, self.copy.created)
    }

    fn add_directory(&mut self, plan: &mut Plan<'_>, found: &Match) -> Result<(), WorkError> {
        match self.target.kind {
            Some(EntryKind::Dir) => {}
            None => self.target.make(self.at)?,
            Some(_) => return Err(WorkError::NonDirectory(self.target.path.clone())),
        }
        let listing = without_excluded(self.tree.list(&found.path)?, self.exclude.as_ref());
        for entry in listing.iter() {
            plan.add(found.path.join(&entry.path), self.target.path.join(&entry.path), entry.stat.clone())?;
        }
        self.is_top = true;
        plan.add_top(self.target.path.clone(), found.stat.mtime);
        Ok(())
    }

    fn add_file(&mut self, plan: &mut Plan<'_>, found: Match) -> Result<(), WorkError> {
        if self.target.kind == Some(EntryKind::Dir) {
            let target = self.target.path.join(&found.name);
            return plan.add(found.path, target, found.stat);
        }
        if self.matches > 1 {
            return Err(WorkError::SeveralToOne { target: self.copy.target.clone(), matches: self.matches });
        }
        // Behind a link to something that does not exist, there may be no directory yet.
        if let Some(above) = self.target.path.parent().map(Path::to_owned) {
            self.target.make_dirs(self.at, &above)?;
        }
        plan.add(found.path, self.target.path.clone(), found.stat)
    }

    fn archive(&self, found: &Match) -> Result<Option<Candidate>, WorkError> {
        let candidate = match self.copy.archive {
            Archive::Keep => None,
            Archive::Detect | Archive::Extract if found.is_link || found.stat.kind != Kind::File => None,
            Archive::Detect | Archive::Extract => archive::detect(self.tree, found)?,
        };
        if candidate.is_none() && self.copy.archive == Archive::Extract {
            return Err(WorkError::Archive {
                archive: found.name.to_string_lossy().into_owned(),
                entry: PathBuf::new(),
                source: std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not an archive"),
            });
        }
        Ok(candidate)
    }

    fn extract(&mut self, candidate: Candidate, found: &Match) -> Result<(), WorkError> {
        match self.target.kind {
            Some(EntryKind::Dir) => {}
            None => self.target.make(self.at)?,
            Some(_) => return Err(WorkError::NonDirectory(self.target.path.clone())),
        }
        archive::extract(self.at, candidate, self.tree, found, &self.target.path, self.change.owner)
    }
}
