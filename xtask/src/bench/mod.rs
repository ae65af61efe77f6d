//! Benchmarks on generated workloads, each as a ratio against Debian's buildah in the same run.

mod measure;
mod report;
mod workload;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::peer::Buildah;
use crate::process::{checked, quiet};
use crate::{images, setup};
use measure::{Sample, median};
use report::Row;
use workload::{Bench, WORKLOADS};

/// Runs the named workloads (all when none is named) and writes `docs/benchmarks.md` when all ran in full.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let quick = args.contains(&"--quick");
    let names: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with("--")).collect();
    if let Some(unknown) = names.iter().find(|name| !WORKLOADS.iter().any(|workload| workload.name == **name)) {
        bail!("unknown workload `{unknown}`: there are {}", WORKLOADS.iter().map(|w| w.name).collect::<Vec<_>>().join(", "));
    }
    setup::all()?;
    let project = setup::project();
    checked(std::process::Command::new("cargo").current_dir(&project).args(["build", "--release", "--package", "rbuild-cli"]))?;
    let dir = tempfile::tempdir()?;
    let tars = images::root_file_systems()?;
    let rbuild = project.join("target/release/rbuild");
    let bench = Bench {
        dir: dir.path().to_owned(),
        buildkit: buildkit(&rbuild, dir.path())?,
        rbuild,
        busybox: tars.busybox.clone(),
        buildah: Buildah::new(&dir.path().join("buildah"), &tars.busybox)?,
    };
    let repeats = if quick { 1 } else { 5 };
    let mut rows = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| names.is_empty() || names.contains(&workload.name)) {
        eprintln!("{}: {}", workload.name, workload.what);
        bench.generate(workload)?;
        let ours = repeat(repeats, || bench.rbuild(workload))?;
        let theirs = repeat_within(PEER_BUDGET, repeats, || bench.buildah(workload))?;
        let buildkit = (0..repeats).map(|_| bench.buildkit(workload)).collect::<Result<Option<Vec<Sample>>>>()?;
        let buildkit = buildkit.map(|samples| median(&samples));
        let row = Row {
            name: workload.name,
            what: workload.what,
            target: workload.target,
            ours: median(&ours),
            theirs: median(&theirs),
            buildkit,
        };
        eprintln!("  {row}");
        rows.push(row);
        bench.clean()?;
    }
    let text = report::markdown(&rows, repeats, &machine()?);
    if names.is_empty() && !quick {
        fs_err::write(project.join("docs/benchmarks.md"), &text)?;
    }
    print!("{text}");
    Ok(())
}

/// A peer that is slow is measured fewer times: no more are begun once this has passed.
const PEER_BUDGET: Duration = Duration::from_secs(40);

fn repeat_within(budget: Duration, times: usize, mut once: impl FnMut() -> Result<Sample>) -> Result<Vec<Sample>> {
    let start = Instant::now();
    let mut samples = vec![once()?];
    while samples.len() < times && start.elapsed() < budget {
        samples.push(once()?);
    }
    Ok(samples)
}

fn repeat(times: usize, mut once: impl FnMut() -> Result<Sample>) -> Result<Vec<Sample>> {
    (0..times).map(|_| once()).collect()
}

/// An OCI layout of busybox for BuildKit, where one can be reached.
fn buildkit(rbuild: &Path, dir: &Path) -> Result<Option<PathBuf>> {
    if std::env::var_os("BUILDKIT_HOST").is_none() {
        return Ok(None);
    }
    let (state, layout, context) = (dir.join("layout-state"), dir.join("layout"), dir.join("layout-context"));
    images::import(rbuild, &state, false)?;
    fs_err::create_dir_all(&context)?;
    fs_err::write(context.join("Dockerfile"), "FROM busybox\n")?;
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    quiet(
        std::process::Command::new(rbuild)
            .arg("--root")
            .arg(&state)
            .args(["build", "-t", "busybox", "-o", &output])
            .arg(&context),
    )?;
    Ok(Some(layout))
}

fn machine() -> Result<String> {
    let kernel = quiet(std::process::Command::new("uname").arg("-r"))?;
    let cpus = std::thread::available_parallelism()?;
    let buildah = quiet(std::process::Command::new("buildah").arg("--version"))?;
    let buildah = buildah.split_whitespace().nth(2).unwrap_or("?").to_owned();
    let buildkit = if std::env::var_os("BUILDKIT_HOST").is_some() { ", BuildKit by BUILDKIT_HOST" } else { "" };
    Ok(format!("{cpus} cores, Linux {}, buildah {buildah} with runc{buildkit}", kernel.trim()))
}
