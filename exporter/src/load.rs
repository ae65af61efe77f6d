//! `load`: images that others wrote, as an archive (docker's or OCI, compressed or not) or as a directory.
//!
//! The steps: all bytes into the store, each blob verified; all documents read and checked; only then the names are set.

use std::io::Read;
use std::path::PathBuf;

use rbuild_oci::Reference;
use rbuild_snapshotter::Snapshotter;

use crate::error::{AtPath, ExportError, Result};
use crate::files::Files;
use crate::layout::LayoutDirectory;
use crate::{StoredImage, docker_archive, oci_archive, tag};

/// Where to read from.
pub enum LoadSource {
    /// A file or a directory.
    Path(PathBuf),
    /// A stream, as from standard input.
    Stream(Box<dyn Read + Send>),
}

/// One image found in an archive.
#[derive(Clone, Debug)]
pub struct LoadedImage {
    /// The image, stored.
    pub image: StoredImage,
    /// Its names in the archive, set in the store already; none: it is kept dangling.
    pub names: Vec<Reference>,
}

/// Loads all images of an archive or layout directory and names them as it says. An OCI image keeps its bytes, so its digests; of an
/// index the image for this host is taken, or the only one. Nothing is visible unless everything was verified. Layers are
/// unpacked later, when they are needed. Blocking.
///
/// # Errors
/// When the archive is damaged, breaks a rule, or is none; [`ExportError::hint`] says more.
pub fn load(snapshotter: &Snapshotter, from: LoadSource) -> Result<Vec<LoadedImage>> {
    let files = open(snapshotter, from)?;
    let loaded = if files.has("oci-layout")? && files.has("index.json")? {
        oci_archive::load(snapshotter, &files)?
    } else if files.has("manifest.json")? {
        docker_archive::load(snapshotter, &files)?
    } else {
        return Err(ExportError::MissingFile("manifest.json` or `index.json".into()));
    };
    for LoadedImage { image, names } in &loaded {
        tag(snapshotter, image, names)?;
    }
    Ok(loaded)
}

fn open(snapshotter: &Snapshotter, from: LoadSource) -> Result<Files> {
    match from {
        LoadSource::Stream(stream) => Files::read_archive(snapshotter, stream),
        LoadSource::Path(path) => {
            if fs_err::metadata(&path).at("open", &path)?.is_dir() {
                return LayoutDirectory::open(&path).map(Files::Directory);
            }
            let file = fs_err::File::open(&path).at("open", &path)?;
            Files::read_archive(snapshotter, Box::new(file.into_parts().0))
        }
    }
}
