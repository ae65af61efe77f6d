//! The files that tell scripts what was built: `--iidfile` and `--metadata-file`.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use rbuild_builder::BuildResult;
use rbuild_oci::Reference;
use serde_json::{Map, Value, json};

use super::plan::Plan;
use crate::failure::{Class, Failure};

/// Writes both, where they are wanted.
pub(super) fn write(plan: &Plan, done: &BuildResult) -> Result<(), Failure> {
    if let Some(path) = &plan.iidfile
        && let Some(image) = &done.image
    {
        replace(path, image.config.to_string().as_bytes())?;
    }
    match &plan.metadata_file {
        Some(path) => write_json(path, &metadata(plan, done)),
        None => Ok(()),
    }
}

/// A failed build says its class, and the exit code of the RUN.
pub(super) fn write_failure(plan: &Plan, failure: &Failure) -> Result<(), Failure> {
    let Some(path) = &plan.metadata_file else { return Ok(()) };
    let mut error = Map::new();
    error.insert("class".to_owned(), json!(failure.class.name()));
    error.insert("exitCode".to_owned(), json!(failure.class.code()));
    error.insert("message".to_owned(), json!(failure.message()));
    if let Some(code) = failure.run_code {
        error.insert("runExitCode".to_owned(), json!(code));
    }
    write_json(path, &json!({ "rbuild.error": error }))
}

/// The keys that buildx writes, sorted as Go's maps are.
fn metadata(plan: &Plan, done: &BuildResult) -> Value {
    let mut object = Map::new();
    object.insert("buildx.build.ref".to_owned(), json!(format!("default/default/{}", random_name())));
    if let Some(image) = &done.image {
        object.insert("containerimage.config.digest".to_owned(), json!(image.config.to_string()));
        let mut descriptor = Map::new();
        descriptor.insert("mediaType".to_owned(), json!(image.parts.media_type.to_string()));
        descriptor.insert("digest".to_owned(), json!(image.manifest.to_string()));
        descriptor.insert("size".to_owned(), json!(image.manifest_size));
        if let Some(platform) = &image.image_config.platform {
            descriptor.insert("platform".to_owned(), json!(platform));
        }
        object.insert("containerimage.descriptor".to_owned(), Value::Object(descriptor));
        object.insert("containerimage.digest".to_owned(), json!(image.manifest.to_string()));
    }
    let names: Vec<String> = plan.names().iter().map(Reference::to_string).collect();
    if !names.is_empty() {
        object.insert("image.name".to_owned(), json!(names.join(",")));
    }
    Value::Object(object)
}

/// 25 lower-case letters and digits, as buildx has them.
fn random_name() -> String {
    let name = tempfile::Builder::new().prefix("").rand_bytes(25).make(|path| Ok::<_, std::io::Error>(path.to_owned()));
    let path = name.map(|name| name.path().to_owned()).unwrap_or_default();
    path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn write_json(path: &Path, value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(Class::Internal, error))?;
    replace(path, text.as_bytes())
}

/// The file is there whole or not at all; a device or pipe is written as it is.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = || -> anyhow::Result<()> {
        if fs_err::metadata(path).is_ok_and(|there| !there.is_file()) {
            return Ok(fs_err::write(path, bytes)?);
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        let mut staged = tempfile::Builder::new().prefix(".rbuild-").permissions(mode).tempfile_in(directory)?;
        staged.write_all(bytes)?;
        staged.persist(path)?;
        Ok(())
    };
    written()
        .with_context(|| format!("`{}` cannot be written", path.display()))
        .map_err(|error| Failure::new(Class::Storage, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"two");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
        let failure = replace(&dir.path().join("no/such/dir"), b"").unwrap_err();
        assert_eq!(failure.class, Class::Storage);
    }

    #[test]
    fn build_references_are_random() {
        assert_eq!(random_name().len(), 25);
        assert_ne!(random_name(), random_name());
    }
}
