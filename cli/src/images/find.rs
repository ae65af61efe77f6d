//! Finding images by what users call them.

use anyhow::anyhow;
use rbuild_oci::{Digest, Reference};
use rbuild_store::ImageRow;

use crate::failure::{Class, Failure};
use crate::state::State;

/// Fewest digits that are taken for the beginning of an id.
const SHORTEST: usize = 3;

/// The manifest of an image by name, or by the (beginning of the) id of its configuration or manifest. It is leased.
pub(crate) fn image(state: &State, word: &str) -> Result<Digest, Failure> {
    let name: Option<Reference> = word.parse().ok();
    if let Some(name) = &name
        && let Some(found) = by_name(state, name)?
    {
        return Ok(found);
    }
    match by_id(state, word)?.as_slice() {
        [] => Err(missing(word)),
        [only] => Ok(only.clone()),
        [_, _, ..] => Err(Failure::usage(anyhow!("`{word}` is the beginning of several ids"))),
    }
}

/// Whether the word is a name in the store, as opposed to an id.
pub(crate) fn named(state: &State, word: &str) -> Result<Option<Reference>, Failure> {
    let Ok(name) = word.parse::<Reference>() else { return Ok(None) };
    Ok(state.store.resolve(&state.session, &name)?.map(|_found| name))
}

/// What is said of an image that is not there.
pub(crate) fn missing(word: &str) -> Failure {
    Failure::new(Class::Internal, anyhow!("no such image: `{word}`"))
}

fn by_name(state: &State, name: &Reference) -> Result<Option<Digest>, Failure> {
    if let Some(found) = state.store.resolve(&state.session, name)? {
        return Ok(Some(found.manifest));
    }
    // `name@digest`: the digest decides, whatever the name's tag is.
    let Some(digest) = name.digest() else { return Ok(None) };
    let rows = state.store.images()?;
    let same = |row: &&ImageRow| row.manifest == *digest && row.reference.as_ref().is_some_and(|row| row.name() == name.name());
    let found = rows.iter().find(same).map(|row| row.manifest.clone());
    Ok(match found {
        Some(manifest) => lease(state, &manifest)?.then_some(manifest),
        None => None,
    })
}

/// Images whose configuration's or manifest's digest begins with these digits, each once.
pub(crate) fn by_id(state: &State, word: &str) -> Result<Vec<Digest>, Failure> {
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mut found: Vec<Digest> = Vec::new();
    if digits.len() < SHORTEST || !is_hex {
        return Ok(found);
    }
    for row in state.store.images()? {
        if found.contains(&row.manifest) || !lease(state, &row.manifest)? {
            continue;
        }
        let matches = row.manifest.hex().starts_with(digits)
            || rbuild_exporter::stored(&state.snapshotter, &row.manifest)
                .is_ok_and(|image| image.config.hex().starts_with(digits));
        if matches {
            found.push(row.manifest);
        }
    }
    Ok(found)
}

fn lease(state: &State, manifest: &Digest) -> Result<bool, Failure> {
    Ok(state.session.lease(&rbuild_store::Resource::Image(manifest.clone()))?)
}
