//! A local context, read in place: its ignore rules, and one view of it for the whole build.
//!
//! What is looked at first stays what the build sees: status and listings are kept, so that a key and the copy made under it speak of
//! the same files. Copying compares an open file with them (see `file::copy`).

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rayon::prelude::*;
use rbuild_fs::ignore::{Matcher, ParentMatch};
use rbuild_fs::{Enter, Kind, Root, Stat, WalkEntry, xattr};

use crate::content::{body_of_directory, body_of_link};
use crate::memo::{Body, Identity, Memo};
use crate::options::LocalContext;
use crate::tree::{Listing, directory_xattrs, kept_xattrs, read_error};
use crate::{Exclusion, WorkError};

/// How often a file that is being written to is read again before giving up.
const ATTEMPTS: u32 = 3;

/// One context of one build.
pub(crate) struct ContextTree {
    name: String,
    context: Arc<LocalContext>,
    root: Root,
    matcher: Matcher,
    stats: Mutex<HashMap<PathBuf, Option<Stat>>>,
    listings: Mutex<HashMap<PathBuf, Arc<Mutex<Option<Listing>>>>>,
    /// What the rules say of the directories met.
    parents: RwLock<HashMap<PathBuf, ParentMatch>>,
    memo: Memo,
}

impl ContextTree {
    pub(crate) fn open(name: &str, context: &Arc<LocalContext>, memo: Memo) -> Result<ContextTree, WorkError> {
        let root = Root::open(&context.root).map_err(read_error(&context.root))?;
        let matcher =
            Matcher::new(&context.ignore).map_err(|source| WorkError::Ignore { file: context.ignore_name.clone(), source })?;
        Ok(ContextTree {
            name: name.to_owned(),
            context: Arc::clone(context),
            root,
            matcher,
            stats: Mutex::default(),
            listings: Mutex::default(),
            parents: RwLock::default(),
            memo,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Status as it was when first asked for; owners are 0:0, as in all that is copied from a context (spec G-44).
    pub(crate) fn raw_stat(&self, path: &Path) -> Result<Option<Stat>, WorkError> {
        if let Some(stat) = lock(&self.stats).get(path) {
            return Ok(stat.clone());
        }
        let stat = self.root.stat(path, false).map_err(read_error(path))?.map(owned_by_root);
        Ok(lock(&self.stats).entry(path.to_owned()).or_insert(stat).clone())
    }

    /// As `raw_stat`, for what the ignore rules leave.
    pub(crate) fn stat(&self, path: &Path) -> Result<Option<Stat>, WorkError> {
        let Some(stat) = self.raw_stat(path)? else { return Ok(None) };
        Ok(self.is_visible(path, &stat)?.then_some(stat))
    }

    /// All below a directory that the ignore rules leave.
    pub(crate) fn list(&self, directory: &Path) -> Result<Listing, WorkError> {
        if let Some(listing) = self.part_of_larger(directory) {
            return Ok(listing);
        }
        let slot = Arc::clone(lock(&self.listings).entry(directory.to_owned()).or_default());
        // Held while walking, so that steps which read the same directory walk once.
        let mut slot = lock(&slot);
        if let Some(listing) = &*slot {
            return Ok(Arc::clone(listing));
        }
        let start = relative(directory);
        let mut entries = rbuild_fs::walk(&self.root, directory, &|path, stat| self.enter(&start.join(path), stat))
            .map_err(read_error(directory))?;
        for entry in &mut entries {
            entry.stat.uid = 0;
            entry.stat.gid = 0;
        }
        let listing = Arc::new(entries);
        *slot = Some(Arc::clone(&listing));
        Ok(listing)
    }

    /// The rule that hides a path which is on disk.
    pub(crate) fn exclusion(&self, path: &Path) -> Result<Option<Exclusion>, WorkError> {
        if self.matcher.is_empty() || self.root.stat(path, false).map_err(read_error(path))?.is_none() {
            return Ok(None);
        }
        let (excluded, rule, _) = self.judge(relative(path));
        let Some(line) = rule.filter(|_| excluded).and_then(|index| self.context.ignore.get(index)) else { return Ok(None) };
        Ok(Some(Exclusion { file: self.context.ignore_name.clone(), line: line.number, pattern: line.pattern.clone() }))
    }

    /// Digests of what entries hold beside their metadata, from the memo where it knows them.
    pub(crate) fn bodies(&self, base: &Path, entries: &[WalkEntry]) -> Result<Vec<[u8; 32]>, WorkError> {
        let mut bodies: Vec<Option<[u8; 32]>> = self.memo.known(entries.iter().map(|entry| Identity::of(&entry.stat)));
        let unknown: Vec<usize> = (0..entries.len()).filter(|index| bodies[*index].is_none()).collect();
        if unknown.is_empty() {
            return Ok(bodies.into_iter().flatten().collect());
        }
        let clock = self.memo.clock();
        let hashed = unknown
            .par_iter()
            .map(|index| {
                let entry = &entries[*index];
                self.hash(&base.join(&entry.path), &entry.stat)
                    .map(|(digest, stable)| (*index, Body { digest, racy: !stable || !self.memo.is_clean(&entry.stat, clock) }))
            })
            .collect::<Result<Vec<_>, WorkError>>()?;
        for (index, body) in &hashed {
            bodies[*index] = Some(body.digest);
        }
        self.memo.learn(hashed.into_iter().map(|(index, body)| (Identity::of(&entries[index].stat), body)));
        Ok(bodies.into_iter().flatten().collect())
    }

    /// What is known of a file that a key was made of; `None` when no key was.
    pub(crate) fn body(&self, stat: &Stat) -> Option<Body> {
        self.memo.body(&Identity::of(stat))
    }

    /// Keeps what was learnt for the next build.
    pub(crate) fn save(&self) -> std::io::Result<()> {
        self.memo.save()
    }

    fn enter(&self, path: &Path, stat: &Stat) -> Enter {
        if self.matcher.is_empty() {
            return Enter::Yes;
        }
        let (excluded, _, state) = self.judge(path);
        let directory = stat.kind == Kind::Dir;
        if directory {
            self.parents.write().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), state);
        }
        match excluded {
            false => Enter::Yes,
            true if directory && self.matcher.may_reinclude_below(path) => Enter::Through,
            true => Enter::Skip,
        }
    }

    /// A directory that is ignored is there all the same if something below it is not (spec §1.6, point 4).
    fn is_visible(&self, path: &Path, stat: &Stat) -> Result<bool, WorkError> {
        let name = relative(path);
        if self.matcher.is_empty() || name.as_os_str().is_empty() || !self.judge(name).0 {
            return Ok(true);
        }
        Ok(stat.kind == Kind::Dir && self.matcher.may_reinclude_below(name) && !self.list(path)?.is_empty())
    }

    fn judge(&self, path: &Path) -> (bool, Option<usize>, ParentMatch) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).map(|parent| self.parent_state(parent));
        self.matcher.matches(path, parent.as_ref())
    }

    fn parent_state(&self, directory: &Path) -> ParentMatch {
        if let Some(state) = self.parents.read().unwrap_or_else(PoisonError::into_inner).get(directory) {
            return state.clone();
        }
        let (_, _, state) = self.judge(directory);
        self.parents.write().unwrap_or_else(PoisonError::into_inner).insert(directory.to_owned(), state.clone());
        state
    }

    fn part_of_larger(&self, directory: &Path) -> Option<Listing> {
        let (above, whole) = {
            let listings = lock(&self.listings);
            directory.ancestors().skip(1).find_map(|above| {
                let listing = listings.get(above)?.try_lock().ok()?.clone()?;
                Some((above.to_owned(), listing))
            })?
        };
        let prefix = directory.strip_prefix(above).ok()?;
        let first = whole.iter().position(|entry| entry.path == prefix)? + 1;
        let below = whole[first..].iter().map_while(|entry| {
            let path = entry.path.strip_prefix(prefix).ok()?.to_owned();
            Some(WalkEntry { path, stat: entry.stat.clone() })
        });
        Some(Arc::new(below.collect()))
    }

    /// The digest, and whether the file still is what the listing says.
    fn hash(&self, path: &Path, expected: &Stat) -> Result<([u8; 32], bool), WorkError> {
        match expected.kind {
            Kind::File => self.hash_file(path, expected),
            Kind::Dir => Ok((body_of_directory(&directory_xattrs(&self.root, path)?), true)),
            Kind::Symlink => Ok((body_of_link(&self.root.read_link(path).map_err(read_error(path))?), true)),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Ok(([0; 32], true)),
        }
    }

    fn hash_file(&self, path: &Path, expected: &Stat) -> Result<([u8; 32], bool), WorkError> {
        let file = self.root.open_file(path).map_err(read_error(path))?;
        for _ in 0..ATTEMPTS {
            let before = Identity::of(&Stat::of(file.as_fd()).map_err(read_error(path))?);
            let xattrs = kept_xattrs(xattr::list(file.as_fd()).map_err(read_error(path))?);
            let digest = crate::content::body_of_file(&file, &xattrs).map_err(read_error(path))?;
            if Identity::of(&Stat::of(file.as_fd()).map_err(read_error(path))?) == before {
                return Ok((digest, before == Identity::of(expected)));
            }
        }
        Err(WorkError::Changed(path.to_owned()))
    }
}

fn owned_by_root(stat: Stat) -> Stat {
    Stat { uid: 0, gid: 0, ..stat }
}

/// A path of the tree as the ignore rules name it.
fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
