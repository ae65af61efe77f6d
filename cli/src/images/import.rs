//! `rbuild import`: a root file system becomes an image.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use rbuild_exporter::LoadSource;
use rbuild_frontend::{Diagnostic, Lowering, NoCache, Options, Resolved, Severity, Source};
use rbuild_oci::{ImageConfig, Platform};

use crate::args::{Global, ImportArgs};
use crate::build::tag_name;
use crate::failure::{Failure, print};
use crate::state::State;
use crate::sync;

/// Instructions that only change the configuration, as docker allows them.
const ALLOWED: [&str; 10] = ["CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"];

/// Runs the command; prints the image's id.
pub(crate) fn import(global: &Global, typed: &ImportArgs) -> Result<ExitCode, Failure> {
    let from = match typed.source.as_str() {
        "-" => LoadSource::Stream(Box::new(io::stdin())),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            return Err(Failure::not_supported(&format!("import of a URL (`{url}`)")));
        }
        path => LoadSource::Path(PathBuf::from(path)),
    };
    let name = typed.name.as_deref().map(tag_name).transpose().map_err(Failure::usage)?;
    let config = changed(&typed.change).map_err(Failure::usage)?;
    let state = State::open(global)?;
    let image = rbuild_exporter::import(&state.snapshotter, from, config)
        .map_err(|error| Failure::from(error).context(format!("`{}` cannot be imported", typed.source)))?;
    rbuild_exporter::tag(&state.snapshotter, &image, name.as_slice())?;
    sync::start(&state.store);
    print(&format!("{}\n", image.config))?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration that these instructions make of an empty one: they are a Dockerfile's, so the frontend reads them.
fn changed(changes: &[String]) -> Result<ImageConfig> {
    if changes.is_empty() {
        return Ok(ImageConfig::default());
    }
    for change in changes {
        let word = change.split_whitespace().next().unwrap_or_default().to_uppercase();
        if !ALLOWED.contains(&word.as_str()) || change.contains('\n') {
            bail!("invalid change `{change}`: it must be one of {}", ALLOWED.join(", "));
        }
    }
    let text = format!("FROM scratch\n{}\n", changes.join("\n"));
    let (file, diagnostics) = rbuild_frontend::parse(Source { name: "--change".to_owned(), text });
    refuse_errors(&diagnostics)?;
    let host = Platform::host();
    match rbuild_frontend::lower(&file, &options(&host), &Resolved::default()) {
        Ok(Lowering::Done(lowered)) => {
            Ok(ImageConfig { config: lowered.config.config, platform: Some(host), ..ImageConfig::default() })
        }
        Ok(Lowering::Needs(_)) => Err(anyhow!("the changes need another image")),
        Err(diagnostics) => refuse_errors(&diagnostics).and_then(|()| Err(anyhow!("the changes cannot be applied"))),
    }
}

fn refuse_errors(diagnostics: &[Diagnostic]) -> Result<()> {
    match diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
        Some(error) => Err(anyhow!("{}", error.message)).context("invalid change"),
        None => Ok(()),
    }
}

fn options(host: &Platform) -> Options {
    Options {
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        build_platform: host.clone(),
        target_platform: host.clone(),
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_instructions() {
        let changes = ["CMD [\"sh\"]", "env A=1 B=2", "WORKDIR /w", "LABEL l=v"].map(str::to_owned);
        let config = changed(&changes).unwrap().config;
        assert_eq!(config.cmd, Some(vec!["sh".to_owned()]));
        assert!(config.env.contains(&"A=1".to_owned()) && config.env.contains(&"B=2".to_owned()));
        assert_eq!((config.working_dir.as_str(), config.labels["l"].as_str()), ("/w", "v"));
        assert_eq!(changed(&[]).unwrap(), ImageConfig::default());
    }

    #[test]
    fn other_instructions_are_refused() {
        for change in ["RUN ls", "COPY a b", "FROM x", "", "CMD a\nRUN b"] {
            let error = changed(&[change.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with("invalid change"), "{change}: {error}");
        }
    }
}
