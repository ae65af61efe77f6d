//! The image configuration (image spec, config.md; docker's additions: Healthcheck, OnBuild, Shell, ArgsEscaped).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{DiffId, Platform};

/// The most bytes of a configuration that rbuild reads. Thousands of history entries fit.
pub const MAX_CONFIG_BYTES: usize = 16 << 20;

/// An image's configuration. Unknown fields are kept and written back in sorted order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ImageConfig {
    /// Creation time, RFC 3339, as written.
    pub created: Option<String>,
    /// Author (MAINTAINER).
    pub author: Option<String>,
    /// What the image runs on; `None` where an image of another builder does not say.
    pub platform: Option<Platform>,
    /// How a container of the image runs.
    pub config: ContainerConfig,
    /// The layers' diff ids, base first.
    pub rootfs: RootFs,
    /// One entry for each instruction.
    pub history: Vec<History>,
    /// Top-level fields that are not named above.
    pub extra: BTreeMap<String, Value>,
}

/// The `config` object: how a container runs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ContainerConfig {
    /// `USER`; empty means root.
    pub user: String,
    /// `EXPOSE`: `80/tcp`.
    pub exposed_ports: BTreeMap<String, Value>,
    /// `ENV`: `NAME=value` in declaration order.
    pub env: Vec<String>,
    /// `ENTRYPOINT`.
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`.
    pub cmd: Option<Vec<String>>,
    /// Docker's `ArgsEscaped`.
    pub args_escaped: Option<bool>,
    /// `HEALTHCHECK`.
    pub healthcheck: Option<Healthcheck>,
    /// `VOLUME`.
    pub volumes: BTreeMap<String, Value>,
    /// `WORKDIR`; empty means `/`.
    pub working_dir: String,
    /// `ONBUILD` triggers, as text.
    pub on_build: Vec<String>,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// `STOPSIGNAL`.
    pub stop_signal: Option<String>,
    /// `SHELL`.
    pub shell: Option<Vec<String>>,
    /// Fields that are not named above.
    pub extra: BTreeMap<String, Value>,
}

/// Docker's health check; durations in nanoseconds, 0 means inherit the default.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: i64,
    /// Time one check may take.
    pub timeout: i64,
    /// Grace period at start.
    pub start_period: i64,
    /// Time between checks in the grace period.
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RootFs {
    /// Digests of the uncompressed layers, base first.
    pub diff_ids: Vec<DiffId>,
}

/// One history entry.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct History {
    /// Creation time, RFC 3339.
    pub created: Option<String>,
    /// The instruction.
    pub created_by: Option<String>,
    /// The author.
    pub author: Option<String>,
    /// A comment: `buildkit.dockerfile.v0`.
    pub comment: Option<String>,
    /// True when the instruction made no layer.
    pub empty_layer: bool,
}
