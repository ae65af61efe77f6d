//! `rbuild inspect`: docker's JSON of an image.

use std::process::ExitCode;

use rbuild_exporter::StoredImage;
use rbuild_oci::{ContainerConfig, Reference};
use rbuild_store::ImageRow;
use serde_json::{Map, Value, json};

use super::{find, layer_sizes};
use crate::args::{Global, InspectArgs};
use crate::failure::{Class, Failure, print};
use crate::human;
use crate::state::State;

/// Runs the command: one array, in the order of the arguments. Images that are missing are named after the rest was printed.
pub(crate) fn inspect(global: &Global, typed: &InspectArgs) -> Result<ExitCode, Failure> {
    match typed.format.as_deref() {
        None | Some("json" | "") => {}
        Some(other) => return Err(Failure::not_supported(&format!("--format `{other}`")).hint("there is `json`")),
    }
    let state = State::open(global)?;
    let rows = state.store.images()?;
    let mut objects = Vec::new();
    let mut missing = None;
    for word in &typed.images {
        match find::image(&state, word) {
            Ok(manifest) => {
                let image = rbuild_exporter::stored(&state.snapshotter, &manifest)?;
                objects.push(object(&state, &rows, &image)?);
            }
            Err(failure) => drop(missing.get_or_insert(failure)),
        }
    }
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"    "));
    serde::Serialize::serialize(&objects, &mut writer).map_err(|error| Failure::new(Class::Internal, error))?;
    print(&format!("{}\n", String::from_utf8_lossy(&text)))?;
    missing.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn object(state: &State, rows: &[ImageRow], image: &StoredImage) -> Result<Value, Failure> {
    let names: Vec<&Reference> =
        rows.iter().filter(|row| row.manifest == image.manifest).filter_map(|row| row.reference.as_ref()).collect();
    let tagged_at = rows.iter().filter(|row| row.manifest == image.manifest).map(|row| row.created).max().unwrap_or(0);
    let mut digests: Vec<String> = names.iter().map(|name| format!("{}@{}", name.familiar_name(), image.manifest)).collect();
    digests.sort();
    digests.dedup();
    let config = &image.image_config;
    let (architecture, os, variant) = match &config.platform {
        Some(platform) => (platform.architecture.clone(), platform.os.clone(), platform.variant.clone()),
        None => Default::default(),
    };
    let size: u64 = layer_sizes(&state.store, image)?.iter().sum();
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("Id", json!(image.config.to_string()));
    put("RepoTags", names.iter().map(|name| name.familiar()).collect());
    put("RepoDigests", json!(digests));
    put("Comment", json!(config.history.last().and_then(|entry| entry.comment.clone()).unwrap_or_default()));
    put("Created", json!(config.created.clone().unwrap_or_default()));
    put("Author", json!(config.author.clone().unwrap_or_default()));
    put("Config", container(&config.config));
    put("Architecture", json!(architecture));
    if let Some(variant) = variant {
        put("Variant", json!(variant));
    }
    put("Os", json!(os));
    put("Size", json!(size));
    let layers: Vec<String> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    put("RootFS", json!({ "Type": "layers", "Layers": layers }));
    put("Metadata", json!({ "LastTagTime": human::rfc3339(tagged_at) }));
    put(
        "Descriptor",
        json!({
            "mediaType": image.parts.media_type.to_string(),
            "digest": image.manifest.to_string(),
            "size": image.manifest_size,
        }),
    );
    Ok(Value::Object(object))
}

/// The `Config` object, every field handled.
fn container(config: &ContainerConfig) -> Value {
    let ContainerConfig {
        user,
        exposed_ports,
        env,
        entrypoint,
        cmd,
        args_escaped,
        healthcheck,
        volumes,
        working_dir,
        on_build,
        labels,
        stop_signal,
        shell,
        extra,
    } = config;
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("User", json!(user));
    if !exposed_ports.is_empty() {
        put("ExposedPorts", json!(exposed_ports));
    }
    put("Env", json!(env));
    put("Cmd", json!(cmd));
    if let Some(escaped) = args_escaped {
        put("ArgsEscaped", json!(escaped));
    }
    if let Some(check) = healthcheck {
        put(
            "Healthcheck",
            json!({
                "Test": check.test, "Interval": check.interval, "Timeout": check.timeout, "StartPeriod": check.start_period,
                "StartInterval": check.start_interval, "Retries": check.retries,
            }),
        );
    }
    put("Volumes", if volumes.is_empty() { Value::Null } else { json!(volumes) });
    put("WorkingDir", json!(working_dir));
    put("Entrypoint", json!(entrypoint));
    put("OnBuild", if on_build.is_empty() { Value::Null } else { json!(on_build) });
    put("Labels", if labels.is_empty() { Value::Null } else { json!(labels) });
    if let Some(signal) = stop_signal {
        put("StopSignal", json!(signal));
    }
    if let Some(shell) = shell {
        put("Shell", json!(shell));
    }
    for (key, value) in extra {
        put(key, value.clone());
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_dockers_keys() {
        let config = ContainerConfig {
            user: "app".to_owned(),
            env: vec!["A=1".to_owned()],
            cmd: Some(vec!["sh".to_owned()]),
            working_dir: "/w".to_owned(),
            labels: [("l".to_owned(), "v".to_owned())].into(),
            ..ContainerConfig::default()
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&container(&config)).unwrap());
    }
}
