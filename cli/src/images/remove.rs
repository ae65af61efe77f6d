//! `rbuild rmi`.

use std::process::ExitCode;

use anyhow::anyhow;
use rbuild_oci::{Digest, Reference};

use super::find;
use crate::args::{Global, RemoveArgs};
use crate::failure::{Class, Failure, print};
use crate::state::State;

/// Runs the command for each image; goes on after a failure, which decides the exit code. The content goes with the next `prune`.
pub(crate) fn remove(global: &Global, typed: &RemoveArgs) -> Result<ExitCode, Failure> {
    let state = State::open(global)?;
    let mut failed: Option<Failure> = None;
    for word in &typed.images {
        match one(&state, word, typed.force) {
            Ok(text) => print(&text)?,
            Err(failure) => {
                if let Some(earlier) = failed.replace(failure) {
                    earlier.report();
                }
            }
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// A name is taken away; with the last one, or by id, the image goes.
fn one(state: &State, word: &str, force: bool) -> Result<String, Failure> {
    if let Some(name) = find::named(state, word)? {
        return untag(state, &name);
    }
    let found = match find::by_id(state, word)?.as_slice() {
        [] if force => return Ok(String::new()),
        [] => return Err(find::missing(word)),
        [only] => only.clone(),
        [_, _, ..] => return Err(Failure::usage(anyhow!("`{word}` is the beginning of several ids"))),
    };
    let names = names(state, &found)?;
    if names.len() > 1 && !force {
        let error = anyhow!("image `{word}` has several names");
        return Err(Failure::new(Class::Internal, error).hint("remove it by its names, or with --force"));
    }
    let mut text: String = names.iter().map(|name| format!("Untagged: {}\n", name.familiar())).collect();
    text.push_str(&delete(state, &found)?);
    Ok(text)
}

fn untag(state: &State, name: &Reference) -> Result<String, Failure> {
    let image = state.store.resolve(&state.session, name)?;
    if !state.store.untag(name)? {
        return Err(find::missing(&name.familiar()));
    }
    let mut text = format!("Untagged: {}\n", name.familiar());
    if let Some(image) = image
        && names(state, &image.manifest)?.is_empty()
    {
        text.push_str(&delete(state, &image.manifest)?);
    }
    Ok(text)
}

fn names(state: &State, manifest: &Digest) -> Result<Vec<Reference>, Failure> {
    let rows = state.store.images()?;
    Ok(rows.into_iter().filter(|row| row.manifest == *manifest).filter_map(|row| row.reference).collect())
}

/// The line names the image as `images` does: by its configuration. One that is damaged has only its manifest.
fn delete(state: &State, manifest: &Digest) -> Result<String, Failure> {
    let id = rbuild_exporter::stored(&state.snapshotter, manifest).map_or_else(|_damaged| manifest.clone(), |image| image.config);
    state.store.remove_image(manifest)?;
    Ok(format!("Deleted: {id}\n"))
}
