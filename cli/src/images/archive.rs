//! `rbuild save` and `rbuild load`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::anyhow;
use rbuild_exporter::{ArchiveKind, Destination, LoadSource, StoredImage};
use rbuild_oci::Reference;

use super::find;
use crate::args::{Global, LoadArgs, SaveArgs};
use crate::failure::{Failure, print};
use crate::state::State;
use crate::sync;

/// `save`: a docker archive, which is an OCI layout too. An image that is named by id is saved without a name.
pub(crate) fn save(global: &Global, typed: &SaveArgs) -> Result<ExitCode, Failure> {
    let to = match &typed.output {
        Some(path) => Destination::File(path.clone()),
        None if io::stdout().is_terminal() => {
            return Err(Failure::usage(anyhow!("an archive is not written to a terminal"))
                .hint("say -o FILE, or redirect standard output"));
        }
        None => Destination::Stdout,
    };
    let state = State::open(global)?;
    let mut images: Vec<(StoredImage, Vec<Reference>)> = Vec::new();
    for word in &typed.images {
        let manifest = find::image(&state, word)?;
        let name = find::named(&state, word)?;
        match images.iter_mut().find(|(image, _)| image.manifest == manifest) {
            Some((_, names)) => names.extend(name.filter(|name| !names.contains(name))),
            None => images.push((rbuild_exporter::stored(&state.snapshotter, &manifest)?, name.into_iter().collect())),
        }
    }
    rbuild_exporter::write_archive(&state.snapshotter, &images, ArchiveKind::Docker, &to)?;
    Ok(ExitCode::SUCCESS)
}

/// `load`: whatever `save`, `docker save` or an OCI tool wrote.
pub(crate) fn load(global: &Global, typed: &LoadArgs) -> Result<ExitCode, Failure> {
    let from = match &typed.input {
        Some(path) => LoadSource::Path(path.clone()),
        None if io::stdin().is_terminal() => {
            return Err(
                Failure::usage(anyhow!("an archive is not read from a terminal")).hint("say -i FILE, or redirect standard input")
            );
        }
        None => LoadSource::Stream(Box::new(io::stdin())),
    };
    let state = State::open(global)?;
    let loaded = rbuild_exporter::load(&state.snapshotter, from).map_err(|error| match &typed.input {
        Some(path) => Failure::from(error).context(format!("`{}` cannot be loaded", path.display())),
        None => Failure::from(error).context("standard input cannot be loaded".to_owned()),
    })?;
    let mut text = String::new();
    for found in &loaded {
        if found.names.is_empty() {
            text.push_str(&format!("Loaded image ID: {}\n", found.image.config));
        }
        for name in &found.names {
            text.push_str(&format!("Loaded image: {}\n", name.familiar()));
        }
    }
    sync::start(&state.store);
    if !typed.quiet {
        print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}
