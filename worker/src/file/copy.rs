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
use crate::select::{Match, find};
use crate::tree::Tree;

/// Copies, or extracts, all sources of one action.
pub(super) fn copy(at: &ActionStep<'_>, copy: &Copy, tree: &Tree) -> Result<(), WorkError> {
    if copy.parents {
        return Err(WorkError::NotSupported("`--parents`".to_owned()));
    }
    let exclude = exclude_matcher(&copy.exclude)?;
    let mut found = Vec::new();
    for source in &copy.sources {
        found.extend(find(tree, &source.path, source.wildcard, true)?);
    }
    found.retain(|found| !is_excluded(found, exclude.as_ref()));
    if found.is_empty() {
        return Ok(());
    }
    let owner = copy.owner.as_ref().map(|owner| resolve_owner(at.writer, Some(owner))).transpose()?;
    let change = Change { owner, mode: ModeChange::new(copy.chmod.as_ref())? };
    let target = Target::prepare(at, copy, &change)?;
    Copying { at, copy, tree, exclude, change: &change, target, is_top: false, matches: found.len() }.run(found)
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
