//! What a stage has come to: its files, environment and image configuration.

use std::collections::BTreeMap;
use std::rc::Rc;

use rbuild_graph::Edge;
use rbuild_oci::{ImageConfig, Platform, RootFs};

use crate::expand::Variables;
use crate::options::BaseImage;

/// Where docker looks for programs when nobody says (spec G-20).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The state that a stage hands on to those built from it.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// `None`: the empty file system.
    pub(super) edge: Option<Edge>,
    pub(super) platform: Platform,
    /// What steps see: ENV and ARG.
    pub(super) env: Environment,
    /// Without rootfs, history and created.
    pub(super) config: ImageConfig,
    /// ARGs in scope, in order, for the history.
    pub(super) arguments: Vec<(String, Option<String>)>,
    pub(super) base: Option<Rc<BaseImage>>,
    /// Whether a WORKDIR of this file has been seen.
    pub(super) workdir_set: bool,
    /// The working directory, absolute.
    pub(super) directory: String,
}

impl State {
    /// The empty image.
    pub(super) fn scratch(platform: &Platform) -> State {
        let mut config = ImageConfig { platform: Some(platform.clone()), ..ImageConfig::default() };
        config.config.working_dir = "/".into();
        State::new(None, platform.clone(), config, None)
    }

    /// The state of an image.
    pub(super) fn image(edge: Option<Edge>, platform: &Platform, base: BaseImage) -> State {
        let mut config = base.config.clone();
        config.created = None;
        config.history = Vec::new();
        config.rootfs = RootFs::default();
        config.config.on_build = Vec::new();
        State::new(edge, platform.clone(), config, Some(Rc::new(base)))
    }

    fn new(edge: Option<Edge>, platform: Platform, mut config: ImageConfig, base: Option<Rc<BaseImage>>) -> State {
        let has_path = config.config.env.iter().any(|entry| entry == "PATH" || entry.starts_with("PATH="));
        if !has_path && platform.os != "windows" {
            config.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        let mut env = Environment::default();
        for entry in &config.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            env.set(name, value);
        }
        let directory = if config.config.working_dir.is_empty() { "/".to_owned() } else { config.config.working_dir.clone() };
        let directory = if directory.starts_with('/') { directory } else { format!("/{directory}") };
        State { edge, platform, env, config, arguments: Vec::new(), base, workdir_set: false, directory }
    }

    /// For a stage built from this one: triggers do not carry over.
    pub(super) fn inherited(&self) -> State {
        let mut state = self.clone();
        state.config.config.on_build.clear();
        state
    }

    /// Sets a variable of the image, in its old place if it has one.
    pub(super) fn set_image_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let env = &mut self.config.config.env;
        match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
            Some(old) => *old = entry,
            None => env.push(entry),
        }
    }

    /// The shell of shell forms.
    pub(super) fn shell(&self) -> Vec<String> {
        let chosen = self.config.config.shell.clone().filter(|shell| !shell.is_empty());
        chosen.unwrap_or_else(|| match self.platform.os.as_str() {
            "windows" => ["cmd", "/S", "/C"].map(str::to_owned).to_vec(),
            _ => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
        })
    }
}

/// Variables in the order in which they were last set.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    values: BTreeMap<String, (u64, String)>,
    set: u64,
}

impl Environment {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.set += 1;
        self.values.insert(name.to_owned(), (self.set, value.to_owned()));
    }

    /// `NAME=value`, in order.
    pub(super) fn entries(&self) -> Vec<String> {
        let mut ordered: Vec<(&u64, &String, &String)> =
            self.values.iter().map(|(name, (at, value))| (at, name, value)).collect();
        ordered.sort_unstable();
        ordered.into_iter().map(|(_, name, value)| format!("{name}={value}")).collect()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

impl Variables for Environment {
    fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }
}
