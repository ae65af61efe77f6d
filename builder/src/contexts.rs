//! Contexts: what the frontend must know of them, and the directories that the worker reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rbuild_frontend::{ImageNeed, ImageSpec, NamedContext};
use rbuild_fs::ignore::read_lines;
use rbuild_oci::Platform;
use rbuild_store::Session;
use rbuild_worker::LocalContext;

use crate::error::InStore;
use crate::{BuildError, Context, ContextSource};

/// The main context's name in the graph.
const MAIN: &str = "context";
/// The ignore file of a named context.
const IGNORE_FILE: &str = ".dockerignore";
/// An ignore file that is larger is a mistake.
const IGNORE_LIMIT: u64 = 4 << 20;

/// The directories of a build by the names that the graph calls them.
pub(crate) type Directories = BTreeMap<String, Arc<LocalContext>>;

/// What the frontend is told of the named contexts.
pub(crate) fn named(sources: &BTreeMap<String, ContextSource>, platform: &Platform) -> BTreeMap<String, NamedContext> {
    let image = |reference| NamedContext::Image(ImageNeed { reference, platform: platform.clone() });
    let named = |(name, source): (&String, &ContextSource)| {
        let context = match source {
            ContextSource::Directory(_) => NamedContext::Local,
            ContextSource::Layout { .. } => image(ImageSpec::Layout(name.clone())),
            ContextSource::Image(reference) => image(ImageSpec::Reference(reference.clone())),
        };
        (name.clone(), context)
    };
    sources.iter().map(named).collect()
}

/// Opens what the worker reads in place. Blocking.
pub(crate) fn directories(
    main: Context,
    sources: &BTreeMap<String, ContextSource>,
    session: &Session,
) -> Result<Directories, BuildError> {
    let mut directories = Directories::new();
    for (name, source) in sources {
        match source {
            ContextSource::Directory(path) => drop(directories.insert(name.clone(), Arc::new(named_directory(name, path)?))),
            ContextSource::Layout { .. } | ContextSource::Image(_) => {}
        }
    }
    let main = match main {
        Context::Directory { path, ignore } => directory(MAIN, path, ignore)?,
        Context::Empty => directory(MAIN, session.staging_dir().in_store("make an empty context")?, None)?,
    };
    directories.insert(MAIN.to_owned(), Arc::new(main));
    Ok(directories)
}

fn named_directory(name: &str, path: &Path) -> Result<LocalContext, BuildError> {
    let failed = |path: PathBuf| move |source| BuildError::Context { name: name.to_owned(), path, source };
    let root = rbuild_fs::Root::open(path).map_err(failed(path.to_owned()))?;
    let ignore = root.read(Path::new(IGNORE_FILE), IGNORE_LIMIT).map_err(failed(path.join(IGNORE_FILE)))?;
    let text = ignore.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    directory(name, path.to_owned(), text.map(|text| (text, format!("{name}/{IGNORE_FILE}"))))
}

fn directory(name: &str, root: PathBuf, ignore: Option<(String, String)>) -> Result<LocalContext, BuildError> {
    let kind = fs_err::metadata(&root).map(|stat| stat.is_dir());
    let refused = |source| BuildError::Context { name: name.to_owned(), path: root.clone(), source };
    if !kind.map_err(refused)? {
        return Err(refused(std::io::ErrorKind::NotADirectory.into()));
    }
    let (text, ignore_name) = ignore.unwrap_or_else(|| (String::new(), IGNORE_FILE.to_owned()));
    Ok(LocalContext { root, ignore: read_lines(&text), ignore_name })
}
