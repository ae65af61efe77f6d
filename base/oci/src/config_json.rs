//! The image configuration as JSON: read strictly, written compactly with sorted keys as BuildKit's exporter does.
//!
//! Empty fields are left out as docker does; `rootfs` and `history` are always there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::{ContainerConfig, Healthcheck, History, ImageConfig, MAX_CONFIG_BYTES, RootFs};
use crate::json::{Fields, Object, to_compact};
use crate::{DiffId, ManifestError, Platform};

const WHAT: &str = "image configuration";

impl ImageConfig {
    /// Reads a configuration of at most [`MAX_CONFIG_BYTES`]. Duplicate keys are refused, `null` is an absent field, unknown
    /// fields of the top level and of `config` are kept.
    pub fn from_json(bytes: &[u8]) -> Result<ImageConfig, ManifestError> {
        let mut top = Fields::parse(bytes, WHAT, MAX_CONFIG_BYTES)?;
        let config = top.take::<Map<String, Value>>("config")?.unwrap_or_default();
        Ok(ImageConfig {
            created: top.take("created")?,
            author: top.take("author")?,
            platform: read_platform(&mut top)?,
            config: read_container(Fields::of(WHAT, config))?,
            rootfs: read_rootfs(&mut top)?,
            history: read_history(&mut top)?,
            extra: top.rest(),
        })
    }

    /// Writes it compactly with sorted keys.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let ImageConfig { created, author, platform, config, rootfs, history, extra } = self;
        let mut top = Object::default();
        top.unless_empty("created", created);
        top.unless_empty("author", author);
        write_platform(&mut top, platform.as_ref());
        top.always("config", write_container(config));
        let diff_ids: Vec<Value> = rootfs.diff_ids.iter().map(|id| id.to_string().into()).collect();
        let mut layers = Object::default();
        layers.always("type", "layers");
        layers.always("diff_ids", diff_ids);
        top.always("rootfs", layers.in_order());
        top.always("history", history.iter().map(write_history).collect::<Vec<_>>());
        top.extend(extra);
        to_compact(&top.sorted())
    }
}

fn read_platform(top: &mut Fields) -> Result<Option<Platform>, ManifestError> {
    let says = top.has("os") || top.has("architecture");
    let platform = Platform {
        architecture: top.take_or_default("architecture")?,
        os: top.take_or_default("os")?,
        os_version: top.take("os.version")?,
        os_features: top.take_or_default("os.features")?,
        variant: top.take::<String>("variant")?.filter(|variant| !variant.is_empty()),
    };
    Ok(says.then_some(platform))
}

fn write_platform(top: &mut Object, platform: Option<&Platform>) {
    let Some(Platform { architecture, os, os_version, os_features, variant }) = platform else { return };
    top.always("architecture", architecture.as_str());
    top.always("os", os.as_str());
    top.unless_empty("os.version", os_version);
    top.unless_empty("os.features", os_features);
    top.unless_empty("variant", variant);
}

fn read_container(mut fields: Fields) -> Result<ContainerConfig, ManifestError> {
    let healthcheck = fields.take::<Map<String, Value>>("Healthcheck")?;
    Ok(ContainerConfig {
        user: fields.take_or_default("User")?,
        exposed_ports: fields.take_or_default("ExposedPorts")?,
        env: fields.take_or_default("Env")?,
        entrypoint: fields.take("Entrypoint")?,
        cmd: fields.take("Cmd")?,
        args_escaped: fields.take("ArgsEscaped")?,
        healthcheck: healthcheck.map(|map| read_healthcheck(Fields::of(WHAT, map))).transpose()?,
        volumes: fields.take_or_default("Volumes")?,
        working_dir: fields.take_or_default("WorkingDir")?,
        on_build: fields.take_or_default("OnBuild")?,
        labels: read_labels(&mut fields)?,
        stop_signal: fields.take("StopSignal")?,
        shell: fields.take("Shell")?,
        extra: fields.rest(),
    })
}

fn read_labels(fields: &mut Fields) -> Result<BTreeMap<String, String>, ManifestError> {
    let labels: BTreeMap<String, Option<String>> = fields.take_or_default("Labels")?;
    Ok(labels.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

fn write_container(config: &ContainerConfig) -> Value {
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
    let mut object = Object::default();
    object.unless_empty("User", user);
    object.unless_empty("ExposedPorts", &as_set(exposed_ports));
    object.unless_empty("Env", env);
    object.unless_empty("Entrypoint", entrypoint);
    object.unless_empty("Cmd", cmd);
    object.unless_empty("ArgsEscaped", args_escaped);
    if let Some(healthcheck) = healthcheck {
        object.always("Healthcheck", write_healthcheck(healthcheck));
    }
    object.unless_empty("Volumes", &as_set(volumes));
    object.unless_empty("WorkingDir", working_dir);
    object.unless_empty("OnBuild", on_build);
    object.unless_empty("Labels", labels);
    object.unless_empty("StopSignal", stop_signal);
    object.unless_empty("Shell", shell);
    object.extend(extra);
    object.sorted()
}

/// Go's `map[string]struct{}`: a `null` member is written as `{}`.
fn as_set(members: &BTreeMap<String, Value>) -> BTreeMap<&str, Value> {
    let object = |value: &Value| if value.is_null() { Value::Object(Map::new()) } else { value.clone() };
    members.iter().map(|(key, value)| (key.as_str(), object(value))).collect()
}

fn read_healthcheck(mut fields: Fields) -> Result<Healthcheck, ManifestError> {
    Ok(Healthcheck {
        test: fields.take_or_default("Test")?,
        interval: fields.take_or_default("Interval")?,
        timeout: fields.take_or_default("Timeout")?,
        start_period: fields.take_or_default("StartPeriod")?,
        start_interval: fields.take_or_default("StartInterval")?,
        retries: fields.take_or_default("Retries")?,
    })
}

fn write_healthcheck(healthcheck: &Healthcheck) -> Value {
    let Healthcheck { test, interval, timeout, start_period, start_interval, retries } = healthcheck;
    let mut object = Object::default();
    object.unless_empty("Test", test);
    object.unless_empty("Interval", interval);
    object.unless_empty("Timeout", timeout);
    object.unless_empty("StartPeriod", start_period);
    object.unless_empty("StartInterval", start_interval);
    object.unless_empty("Retries", retries);
    object.in_order()
}

fn read_rootfs(top: &mut Fields) -> Result<RootFs, ManifestError> {
    let Some(map) = top.take::<Map<String, Value>>("rootfs")? else { return Ok(RootFs::default()) };
    let mut fields = Fields::of(WHAT, map);
    match fields.take::<String>("type")?.as_deref() {
        None | Some("layers") => {}
        Some(other) => return Err(fields.rule(format!("a root file system of type `{other}` is not known"))),
    }
    Ok(RootFs { diff_ids: fields.take_or_default::<Vec<DiffId>>("diff_ids")? })
}

fn read_history(top: &mut Fields) -> Result<Vec<History>, ManifestError> {
    let entries: Vec<Map<String, Value>> = top.take_or_default("history")?;
    entries.into_iter().map(|map| read_history_entry(Fields::of(WHAT, map))).collect()
}

fn read_history_entry(mut fields: Fields) -> Result<History, ManifestError> {
    Ok(History {
        created: fields.take("created")?,
        created_by: fields.take("created_by")?,
        author: fields.take("author")?,
        comment: fields.take("comment")?,
        empty_layer: fields.take_or_default("empty_layer")?,
    })
}

fn write_history(history: &History) -> Value {
    let History { created, created_by, author, comment, empty_layer } = history;
    let mut object = Object::default();
    object.unless_empty("created", created);
    object.unless_empty("created_by", created_by);
    object.unless_empty("author", author);
    object.unless_empty("comment", comment);
    object.unless_empty("empty_layer", empty_layer);
    object.in_order()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(input: &str, expected: &str) {
        let config = ImageConfig::from_json(input.as_bytes()).unwrap();
        let written = String::from_utf8(config.to_json()).unwrap();
        assert_eq!(written, expected);
        assert_eq!(ImageConfig::from_json(written.as_bytes()).unwrap().to_json(), written.as_bytes());
    }

    #[test]
    fn nothing_becomes_the_least_configuration() {
        check("{}", r#"{"config":{},"history":[],"rootfs":{"type":"layers","diff_ids":[]}}"#);
        check(
            r#"{"config":null,"history":null,"rootfs":null,"created":null,"os":null}"#,
            r#"{"config":{},"history":[],"rootfs":{"type":"layers","diff_ids":[]}}"#,
        );
    }

    #[test]
    fn every_field_is_written_where_docker_has_it() {
        check(
            concat!(
                r#"{"os":"linux","architecture":"arm64","variant":"v8","author":"me","created":"2026-01-02T03:04:05.5Z","zeta":{"b":1,"a":[2]},"#,
                r#""container_config":{"x":null},"config":{"Hostname":"h","User":"u","ExposedPorts":{"80/tcp":{},"53/udp":null},"Env":["B=2","A=1"],"#,
                r#""Entrypoint":["/e"],"Cmd":["a","<&>"],"ArgsEscaped":true,"Volumes":{"/v":{}},"WorkingDir":"/w","OnBuild":["RUN x"],"#,
                r#""Labels":{"z":"1","a":null},"StopSignal":"TERM","Shell":["/s"],"Image":"","#,
                r#""Healthcheck":{"Retries":3,"Test":["CMD","t"],"Interval":5,"StartInterval":1}},"#,
                r#""rootfs":{"diff_ids":["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],"type":"layers"},"#,
                r#""history":[{"empty_layer":true,"comment":"c","created_by":"b","created":"x","author":"w"},{"created_by":"l"}]}"#
            ),
            concat!(
                r#"{"architecture":"arm64","author":"me","config":{"ArgsEscaped":true,"Cmd":["a","\u003c\u0026\u003e"],"Entrypoint":["/e"],"#,
                r#""Env":["B=2","A=1"],"ExposedPorts":{"53/udp":{},"80/tcp":{}},"#,
                r#""Healthcheck":{"Test":["CMD","t"],"Interval":5,"StartInterval":1,"Retries":3},"Hostname":"h","Image":"","#,
                r#""Labels":{"a":"","z":"1"},"OnBuild":["RUN x"],"Shell":["/s"],"StopSignal":"TERM","User":"u","Volumes":{"/v":{}},"WorkingDir":"/w"},"#,
                r#""container_config":{"x":null},"created":"2026-01-02T03:04:05.5Z","#,
                r#""history":[{"created":"x","created_by":"b","author":"w","comment":"c","empty_layer":true},{"created_by":"l"}],"#,
                r#""os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]},"#,
                r#""variant":"v8","zeta":{"b":1,"a":[2]}}"#
            ),
        );
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for (input, word) in [
            ("[]", "not an object"),
            ("{", "invalid JSON"),
            (r#"{"config":{"Env":1}}"#, "invalid JSON"),
            (r#"{"config":{"Cmd":[],"Cmd":[]}}"#, "invalid JSON"),
            (r#"{"rootfs":{"type":"windows"}}"#, "type `windows`"),
            (r#"{"rootfs":{"diff_ids":["sha256:x"]}}"#, "invalid JSON"),
        ] {
            let error = ImageConfig::from_json(input.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{input}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ImageConfig::from_json(&bytes).map_or(true, |config| !config.to_json().is_empty()));
        }

        #[test]
        fn what_is_written_is_read_back(
            env in proptest::collection::vec(".{0,12}", 0..4),
            cmd in proptest::option::of(proptest::collection::vec(".{1,12}", 1..4)),
            labels in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
            created_by in proptest::collection::vec(proptest::option::of(".{1,20}"), 0..4),
            user in ".{0,5}",
            interval in any::<i64>(),
        ) {
            let healthcheck = Some(Healthcheck { test: vec!["NONE".into()], interval, ..Healthcheck::default() });
            let history = created_by.into_iter().map(|created_by| History { created_by, empty_layer: true, ..History::default() });
            let config = ImageConfig {
                platform: Some(Platform::linux("amd64")),
                config: ContainerConfig { env, cmd, labels, user, healthcheck, ..ContainerConfig::default() },
                history: history.collect(),
                ..ImageConfig::default()
            };
            prop_assert_eq!(ImageConfig::from_json(&config.to_json()).unwrap(), config);
        }
    }
}
