//! The flags of `build` as meant: everything that needs no file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use rbuild_builder::{BuildRequest, ContextSource, OutputSpec};
use rbuild_frontend::{NoCache, Options};
use rbuild_graph::NetworkMode;
use rbuild_oci::{Platform, Reference};

use super::context::ContextWord;
use super::contexts;
use super::inputs::Inputs;
use super::secrets::{self, Secret};
use crate::args::BuildArgs;
use crate::output::{self, Surroundings};
use crate::progress::Kind;
use crate::{environment, values};

/// What to build.
pub(crate) struct Plan {
    pub(crate) context: ContextWord,
    pub(crate) file: Option<String>,
    pub(crate) progress: Kind,
    pub(crate) iidfile: Option<PathBuf>,
    pub(crate) metadata_file: Option<PathBuf>,
    pub(crate) tags: Vec<Reference>,
    outputs: Vec<OutputSpec>,
    named_contexts: BTreeMap<String, ContextSource>,
    options: Options,
    pull: bool,
    parallelism: usize,
    log_budget: Option<u64>,
    paranoid: bool,
    secrets: Vec<Secret>,
}

impl Plan {
    /// Makes sense of the flags, or says why they make none.
    pub(crate) fn new(typed: &BuildArgs) -> Result<Plan> {
        refuse_what_is_to_come(typed)?;
        let tags = typed.tag.iter().map(|tag| tag_name(tag)).collect::<Result<Vec<_>>>()?;
        let options = options(typed)?;
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        let outputs = output::all(&typed.output, typed.load, &Surroundings { tags: &tags, epoch: options.epoch, terminal })?;
        let progress = match (&typed.progress, typed.quiet) {
            (Some(kind), true) if kind != "quiet" => bail!("--quiet and --progress={kind} contradict each other"),
            (_, true) => Kind::Quiet,
            (Some(kind), false) => Kind::parse(kind)?,
            (None, false) => Kind::parse(environment::progress().as_deref().unwrap_or("auto"))?,
        };
        Ok(Plan {
            context: ContextWord::parse(&typed.context)?,
            file: typed.file.clone(),
            progress,
            iidfile: typed.iidfile.clone(),
            metadata_file: typed.metadata_file.clone(),
            tags,
            outputs,
            named_contexts: contexts::parse_all(&typed.build_context)?,
            options,
            pull: typed.pull,
            parallelism: parallelism(typed.jobs),
            log_budget: log_budget(&typed.log_limit)?,
            paranoid: typed.paranoid,
            secrets: secrets::parse_all(&typed.secret)?,
        })
    }

    /// Whether an output goes to standard output, so that nothing else may.
    pub(crate) fn writes_stdout(&self) -> bool {
        self.outputs.iter().any(|output| output::writes_stdout(&output.kind))
    }

    /// Names that outputs give the image, each once.
    pub(crate) fn names(&self) -> Vec<Reference> {
        let mut names: Vec<Reference> = Vec::new();
        for name in self.outputs.iter().flat_map(|output| &output.names) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Adds what was read.
    pub(crate) fn request(&self, inputs: Inputs) -> Result<BuildRequest> {
        Ok(BuildRequest {
            dockerfile: inputs.dockerfile,
            options: self.options.clone(),
            context: inputs.context,
            named_contexts: contexts::check_all(&self.named_contexts)?,
            outputs: self.outputs.clone(),
            tags: self.tags.clone(),
            pull: self.pull,
            parallelism: self.parallelism,
            log_budget: self.log_budget,
            paranoid: self.paranoid,
            secrets: secrets::read_all(&self.secrets, environment::secret)?,
        })
    }
}

/// Flags that docker has and rbuild does not do yet.
fn refuse_what_is_to_come(typed: &BuildArgs) -> Result<()> {
    let off = |value: &Option<String>| value.as_deref().is_none_or(|value| crate::args::go_bool(value) == Ok(false));
    for (given, flag) in [
        (typed.push, "--push"),
        (!typed.ssh.is_empty(), "--ssh"),
        (!typed.cache_from.is_empty(), "--cache-from"),
        (!typed.cache_to.is_empty(), "--cache-to"),
        (!off(&typed.provenance), "--provenance"),
        (!off(&typed.sbom), "--sbom"),
    ] {
        if given {
            bail!("{flag} is not supported yet");
        }
    }
    Ok(())
}

/// A name for the image. A digest cannot be chosen.
pub(crate) fn tag_name(word: &str) -> Result<Reference> {
    let reference: Reference = word.parse().with_context(|| format!("invalid name `{word}`"))?;
    if reference.digest().is_some() {
        bail!("invalid name `{word}`: an image cannot be named by a digest");
    }
    Ok(reference)
}

fn options(typed: &BuildArgs) -> Result<Options> {
    let mut build_args = values::build_args(&typed.build_arg, environment::variable)?;
    if let Some(epoch) = environment::source_date_epoch() {
        build_args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert(epoch);
    }
    let epoch = build_args.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty());
    let epoch =
        epoch.map(|text| text.parse().map_err(|_source| anyhow!("SOURCE_DATE_EPOCH=`{text}` is not a number of seconds")));
    let (target_platform, platform_given) = platform(&typed.platform)?;
    let network = network(&typed.network)?;
    let allow = Allow::parse(&typed.allow)?;
    Ok(Options {
        target: typed.target.clone().filter(|target| !target.is_empty()),
        epoch: epoch.transpose()?,
        build_args,
        labels: values::labels(&typed.label)?,
        build_platform: Platform::host(),
        target_platform,
        platform_given,
        no_cache: no_cache(typed.no_cache, &typed.no_cache_filter)?,
        network,
        allow_insecure: allow.insecure,
        allow_host_network: allow.host_network || network == Some(NetworkMode::Host),
        extra_hosts: typed.add_host.iter().map(|word| values::add_host(word)).collect::<Result<_>>()?,
        ulimits: typed.ulimit.iter().map(|word| values::ulimit(word)).collect::<Result<_>>()?,
        shm_size: typed.shm_size.as_deref().map(values::size).transpose().context("invalid --shm-size")?,
        // The builder fills these in.
        named_contexts: BTreeMap::new(),
        secrets: BTreeSet::new(),
        ssh: BTreeSet::new(),
    })
}

/// The target platform, and whether it was given.
fn platform(words: &[String]) -> Result<(Platform, bool)> {
    let host = Platform::host();
    let all: Vec<&str> = words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()).collect();
    match &all[..] {
        [] => Ok((host, false)),
        [only] => {
            let platform: Platform = only.parse()?;
            Ok((if host.matches(&platform) { host } else { platform }, true))
        }
        _ => bail!("--platform with several platforms is not supported yet"),
    }
}

fn network(word: &str) -> Result<Option<NetworkMode>> {
    match word {
        "default" | "" => Ok(None),
        "host" => Ok(Some(NetworkMode::Host)),
        "none" => Ok(Some(NetworkMode::None)),
        other => bail!("--network {other} is not supported; there are default, host and none"),
    }
}

/// Entitlements.
#[derive(Clone, Copy, Debug, Default)]
struct Allow {
    insecure: bool,
    host_network: bool,
}

impl Allow {
    fn parse(words: &[String]) -> Result<Allow> {
        let mut allow = Allow::default();
        for word in words {
            match word.as_str() {
                "network.host" => allow.host_network = true,
                "security.insecure" => allow.insecure = true,
                other => bail!("--allow {other} is not supported; there are network.host and security.insecure"),
            }
        }
        Ok(allow)
    }
}

fn no_cache(all: bool, stages: &[String]) -> Result<NoCache> {
    match (all, stages) {
        (true, []) => Ok(NoCache::All),
        (true, _) => bail!("--no-cache and --no-cache-filter contradict each other"),
        (false, []) => Ok(NoCache::No),
        (false, stages) => Ok(NoCache::Stages(stages.iter().map(|stage| stage.to_lowercase()).collect())),
    }
}

/// Steps mostly wait for disks and networks, so there may be more of them than processors.
fn parallelism(jobs: usize) -> usize {
    match jobs {
        0 => std::thread::available_parallelism().map_or(16, |count| (count.get() * 4).max(16)),
        jobs => jobs,
    }
}

fn log_budget(word: &str) -> Result<Option<u64>> {
    if word == "unlimited" { Ok(None) } else { values::size(word).map(Some).context("invalid --log-limit") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn plan(words: &[&str]) -> Result<Plan> {
        let line = ["rbuild", "build", "--progress=plain"].iter().chain(words).chain(&["."]);
        let Command::Build(typed) = Arguments::try_parse_from(line).unwrap().command else { panic!("build") };
        Plan::new(&typed)
    }

    #[test]
    fn flags_become_options() {
        let plan = plan(&[
            "-t",
            "app",
            "-t",
            "reg.example/app:2",
            "--build-arg",
            "A=1",
            "--label",
            "l=v",
            "--target",
            "dev",
            "--no-cache-filter",
            "A,b",
            "--network",
            "none",
            "--add-host",
            "h:1.2.3.4",
            "--shm-size",
            "1m",
            "--ulimit",
            "core=0",
            "--allow",
            "security.insecure",
            "--jobs",
            "3",
            "--log-limit",
            "unlimited",
            "--paranoid",
            "--pull",
        ])
        .unwrap();
        let options = &plan.options;
        assert_eq!(plan.tags.iter().map(Reference::familiar).collect::<Vec<_>>(), ["app:latest", "reg.example/app:2"]);
        assert_eq!(options.build_args["A"], "1");
        assert_eq!(options.labels["l"], "v");
        assert_eq!(options.target.as_deref(), Some("dev"));
        assert_eq!(options.no_cache, NoCache::Stages(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(options.network, Some(NetworkMode::None));
        assert_eq!(options.shm_size, Some(1 << 20));
        assert_eq!((options.extra_hosts.len(), options.ulimits.len()), (1, 1));
        assert!(options.allow_insecure && !options.allow_host_network && !options.platform_given);
        assert_eq!((plan.parallelism, plan.log_budget, plan.paranoid, plan.pull), (3, None, true, true));
        assert_eq!(plan.names().len(), 2);
    }

    #[test]
    fn the_network_of_the_host_is_allowed_by_asking_for_it() {
        assert!(plan(&["--network=host"]).unwrap().options.allow_host_network);
        assert!(plan(&["--allow", "network.host"]).unwrap().options.allow_host_network);
    }

    #[test]
    fn the_epoch_is_a_build_argument() {
        assert_eq!(plan(&["--build-arg", "SOURCE_DATE_EPOCH=5"]).unwrap().options.epoch, Some(5));
        assert_eq!(plan(&["--build-arg", "SOURCE_DATE_EPOCH="]).unwrap().options.epoch, None);
        assert!(plan(&["--build-arg", "SOURCE_DATE_EPOCH=now"]).is_err());
    }

    #[test]
    fn contradictions_and_what_is_to_come_are_refused() {
        for (words, message) in [
            (&["--push"][..], "--push is not supported yet"),
            (&["--secret", "src=x"], "invalid --secret `src=x`"),
            (&["--ssh", "default"], "--ssh is not supported yet"),
            (&["--cache-to", "type=inline"], "--cache-to is not supported yet"),
            (&["--provenance=max"], "--provenance is not supported yet"),
            (&["--no-cache", "--no-cache-filter", "a"], "--no-cache and --no-cache-filter contradict each other"),
            (&["-q"], "--quiet and --progress=plain contradict each other"),
            (&["--network", "bridge"], "--network bridge is not supported; there are default, host and none"),
            (&["--allow", "device"], "--allow device is not supported; there are network.host and security.insecure"),
            (&["-t", "UPPER"], "invalid name `UPPER`"),
            (&["--platform", "linux/amd64,linux/arm64"], "--platform with several platforms is not supported yet"),
            (&["--platform", "not a platform"], ""),
        ] {
            let error = plan(words).err().unwrap().to_string();
            assert!(error.starts_with(message), "{words:?}: {error}");
        }
        assert!(plan(&["--provenance=false", "--sbom=false"]).is_ok());
        let host = Platform::host().to_string();
        assert!(plan(&["--platform", &host]).unwrap().options.platform_given);
        assert_eq!(plan(&["--platform", "plan9/mips"]).unwrap().options.target_platform.to_string(), "plan9/mips");
    }
}
