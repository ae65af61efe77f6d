//! Commands on the images of the local store.

mod archive;
pub(crate) mod find;
mod history;
mod import;
mod inspect;
mod list;
mod remove;

pub(crate) use archive::{load, save};
pub(crate) use history::history;
pub(crate) use import::import;
pub(crate) use inspect::inspect;
pub(crate) use list::list;
pub(crate) use remove::remove;

use std::process::ExitCode;

use rbuild_exporter::StoredImage;
use rbuild_oci::ChainId;
use rbuild_store::Store;

use crate::args::{Global, TagArgs};
use crate::failure::Failure;
use crate::state::State;
use crate::sync;

/// `rbuild tag`.
pub(crate) fn tag(global: &Global, typed: &TagArgs) -> Result<ExitCode, Failure> {
    let target = crate::build::tag_name(&typed.target).map_err(Failure::usage)?;
    let state = State::open(global)?;
    let manifest = find::image(&state, &typed.source)?;
    state.store.tag(&state.session, Some(&target), &manifest)?;
    sync::start(&state.store);
    Ok(ExitCode::SUCCESS)
}

/// How an id is shown: whole, or its first twelve digits.
pub(crate) fn short_id(digest: &rbuild_oci::Digest, whole: bool) -> String {
    if whole { digest.to_string() } else { digest.hex().chars().take(12).collect() }
}

/// `--format`: `table` or nothing is false, `json` is true.
pub(crate) fn wants_json(format: Option<&str>) -> Result<bool, Failure> {
    match format {
        None | Some("table" | "") => Ok(false),
        Some("json" | "{{json .}}") => Ok(true),
        Some(other) => Err(Failure::not_supported(&format!("--format `{other}`")).hint("there are `table` and `json`")),
    }
}

/// Bytes of each layer: of its unpacked state where there is one, else of its blob.
fn layer_sizes(store: &Store, image: &StoredImage) -> Result<Vec<u64>, Failure> {
    let mut sizes = Vec::new();
    let mut chain: Option<ChainId> = None;
    for (diff_id, layer) in image.image_config.rootfs.diff_ids.iter().zip(&image.parts.layers) {
        let next = ChainId::extend(chain.as_ref(), diff_id);
        sizes.push(store.chain(&next)?.map_or(layer.size, |row| row.size));
        chain = Some(next);
    }
    Ok(sizes)
}
