//! From a descriptor through indexes to the manifest of one platform.

use rbuild_oci::{Descriptor, Digest, Index, Manifest, ManifestOrIndex, MediaType, Platform};

use crate::error::{ExportError, InDocument, Result};

/// The annotation with an image's tag (image spec, annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's annotation with an image's full name.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Indexes in indexes in indexes: deeper is an attack or a mistake.
const DEEPEST: usize = 4;

/// Which entry of an index is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice<'a> {
    /// One for this platform.
    Exactly(&'a Platform),
    /// One for this platform, or else the only image that there is.
    Preferably(&'a Platform),
}

/// A manifest that was found.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) manifest: Manifest,
}

/// Follows `start` to a manifest. `read` gives a document's verified bytes.
pub(crate) fn resolve(
    read: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>>,
    start: &Descriptor,
    choice: Choice<'_>,
) -> Result<Resolved> {
    let mut next = start.clone();
    for _ in 0..DEEPEST {
        let bytes = read(&next)?;
        let expected = Some(&next.media_type).filter(|media_type| **media_type != MediaType::Other(String::new()));
        match ManifestOrIndex::parse(&bytes, expected).document(&next.digest)? {
            ManifestOrIndex::Manifest(manifest) => {
                check_is_image(&next, &manifest)?;
                return Ok(Resolved { digest: next.digest, size: bytes.len() as u64, manifest });
            }
            ManifestOrIndex::Index(index) => next = choose(&index, choice)?.clone(),
        }
    }
    Err(ExportError::bad_image(&start.digest, "its indexes are nested too deeply"))
}

fn check_is_image(descriptor: &Descriptor, manifest: &Manifest) -> Result<()> {
    if manifest.config.media_type.is_config() {
        return Ok(());
    }
    let reason = format!("its configuration is of type `{}`: it is not an image", manifest.config.media_type);
    Err(ExportError::bad_image(&descriptor.digest, reason))
}

fn choose<'i>(index: &'i Index, choice: Choice<'_>) -> Result<&'i Descriptor> {
    let (Choice::Exactly(platform) | Choice::Preferably(platform)) = choice;
    let mut images = index.manifests.iter().filter(|entry| !entry.is_attestation());
    let only = || match (choice, images.next(), images.next()) {
        (Choice::Preferably(_), Some(only), None) => Some(only),
        _ => None,
    };
    index
        .select(platform)
        .or_else(only)
        .ok_or_else(|| ExportError::NoMatch { wanted: format!("for {platform}"), offered: offered(index) })
}

/// The images of an index for a message.
pub(crate) fn offered(index: &Index) -> String {
    let describe = |entry: &Descriptor| {
        let name = entry.annotations.get(REF_NAME).cloned();
        let platform = entry.platform.as_ref().map(ToString::to_string);
        [name, platform].into_iter().flatten().reduce(|name, platform| format!("{name} ({platform})"))
    };
    let images = index.manifests.iter().filter(|entry| !entry.is_attestation());
    let mut names: Vec<String> = images.map(|entry| describe(entry).unwrap_or_else(|| entry.digest.to_string())).collect();
    if names.len() > 20 {
        let more = names.len() - 20;
        names.truncate(20);
        names.push(format!("{more} more"));
    }
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
