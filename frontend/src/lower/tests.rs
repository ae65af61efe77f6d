//! Lowering, seen from outside.

/// A snapshot without the expression that made it, which is the cases once more.
macro_rules! snapshot {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, { insta::assert_snapshot!($text) })
    };
}

mod dump;
mod errors;
mod gotchas;
mod lints;
mod snapshots;

use std::collections::BTreeMap;

use rbuild_oci::{Digest, ImageConfig, Platform};

use super::*;
use crate::options::{ImageNeed, ImageSpec, NamedContext, NoCache, ResolvedImage};
use crate::{Source, parse};

/// A Dockerfile with what surrounds it.
pub(super) struct Case {
    text: String,
    options: Options,
    images: BTreeMap<String, ImageConfig>,
}

pub(super) fn case(text: &str) -> Case {
    let platform = Platform::linux("amd64");
    let options = Options {
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        build_platform: platform.clone(),
        target_platform: platform,
        platform_given: false,
        no_cache: NoCache::No,
        network: None,
        allow_insecure: false,
        allow_host_network: false,
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_size: None,
        named_contexts: BTreeMap::new(),
        epoch: None,
        secrets: BTreeSet::new(),
        ssh: BTreeSet::new(),
    };
    let busybox = image(r#"{"Env":["PATH=/bin"],"Cmd":["sh"]}"#, 1);
    Case { text: text.to_owned(), options, images: BTreeMap::from([("busybox".to_owned(), busybox)]) }
}

/// A configuration of an image with some layers.
pub(super) fn image(config: &str, layers: usize) -> ImageConfig {
    let diff_ids: Vec<String> = (0..layers).map(|n| format!("\"{}\"", Digest::of(&[u8::try_from(n).unwrap()]))).collect();
    let history: Vec<String> = (0..layers).map(|n| format!(r#"{{"created_by":"base {n}"}}"#)).collect();
    let json = format!(
        r#"{{"created":"2020-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{config},
            "rootfs":{{"type":"layers","diff_ids":[{}]}},"history":[{}]}}"#,
        diff_ids.join(","),
        history.join(",")
    );
    ImageConfig::from_json(json.as_bytes()).unwrap()
}

impl Case {
    pub(super) fn arg(mut self, name: &str, value: &str) -> Case {
        self.options.build_args.insert(name.into(), value.into());
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Options)) -> Case {
        change(&mut self.options);
        self
    }

    pub(super) fn image(mut self, name: &str, config: ImageConfig) -> Case {
        self.images.insert(name.into(), config);
        self
    }

    pub(super) fn context(mut self, name: &str, context: NamedContext) -> Case {
        self.options.named_contexts.insert(name.into(), context);
        self
    }

    /// Resolves what is needed until the end.
    pub(super) fn lower(&self) -> Result<Lowered, String> {
        let source = Source { name: "Dockerfile".into(), text: self.text.clone() };
        let (file, diagnostics) = parse(source.clone());
        if !diagnostics.is_empty() {
            return Err(crate::render(&source, &diagnostics, false));
        }
        let mut resolved = Resolved::default();
        for _round in 0..5 {
            match lower(&file, &self.options, &resolved) {
                Err(diagnostics) => return Err(crate::render(&source, &diagnostics, false)),
                Ok(Lowering::Done(lowered)) => return Ok(*lowered),
                Ok(Lowering::Needs(needs)) => {
                    for need in needs {
                        let (ImageSpec::Reference(name) | ImageSpec::Layout(name)) = &need.reference;
                        let config = self.images.get(name).unwrap_or_else(|| panic!("nobody needs {name}")).clone();
                        let manifest = Digest::of(name.as_bytes());
                        resolved.images.insert(need, ResolvedImage { manifest, config });
                    }
                }
            }
        }
        panic!("no end of needs");
    }

    pub(super) fn good(&self) -> Lowered {
        self.lower().unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn bad(&self) -> String {
        match self.lower() {
            Ok(lowered) => panic!("an error was expected:\n{}", dump::lowered(&lowered)),
            Err(error) => error,
        }
    }
}

pub(super) fn layout(name: &str) -> NamedContext {
    NamedContext::Image(ImageNeed { reference: ImageSpec::Layout(name.into()), platform: Platform::linux("amd64") })
}
