//! The workloads: what is generated, and how each builder is called.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::measure::{Sample, measure};
use crate::peer::Buildah;
use crate::process::quiet;

/// One workload.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) target: &'static str,
    kind: Kind,
    context: Files,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing is cached.
    Cold,
    /// Built once before, nothing changed.
    Unchanged,
    /// Built once before, one byte of one file changed.
    OneByte,
    /// A container, not a build.
    Run,
}

#[derive(Clone, Copy)]
enum Files {
    Empty,
    /// Number of small files.
    Small(usize),
    /// Megabytes in files of 8 MB, about as compressible as libraries.
    Large(usize),
}

/// All workloads, in the order of the report.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload { name: "run20", what: "20 trivial RUNs, cold", target: "10 ms each", kind: Kind::Cold, context: Files::Empty },
    Workload {
        name: "context-unchanged",
        what: "10k-file context, unchanged",
        target: "50 ms",
        kind: Kind::Unchanged,
        context: Files::Small(10_000),
    },
    Workload {
        name: "context-one-byte",
        what: "10k-file context, one byte changed",
        target: "",
        kind: Kind::OneByte,
        context: Files::Small(10_000),
    },
    Workload {
        name: "copy50k",
        what: "50k small files copied cold, exported as OCI gzip",
        target: "5 s",
        kind: Kind::Cold,
        context: Files::Small(50_000),
    },
    Workload {
        name: "layer600",
        what: "600 MB layer copied cold, exported as OCI gzip",
        target: "",
        kind: Kind::Cold,
        context: Files::Large(600),
    },
    Workload { name: "sleep8", what: "8 parallel stages of `sleep 2`", target: "", kind: Kind::Cold, context: Files::Empty },
    Workload { name: "run-true", what: "`run --rm busybox true`", target: "25 ms", kind: Kind::Run, context: Files::Empty },
];

/// Where everything of one benchmark run is.
pub(crate) struct Bench {
    pub(crate) dir: PathBuf,
    pub(crate) rbuild: PathBuf,
    pub(crate) busybox: PathBuf,
    pub(crate) buildah: Buildah,
    /// BuildKit, where `BUILDKIT_HOST` says that one runs, with an OCI layout of the base image.
    pub(crate) buildkit: Option<PathBuf>,
}

impl Bench {
    /// Writes the context and the Dockerfile.
    pub(crate) fn generate(&self, workload: &Workload) -> Result<()> {
        let context = self.context();
        fs_err::create_dir_all(&context)?;
        fs_err::write(context.join("Dockerfile"), dockerfile(workload))?;
        fs_err::write(context.join(".dockerignore"), "Dockerfile\n.dockerignore\n")?;
        match workload.context {
            Files::Empty => {}
            Files::Small(count) => small_files(&context, count)?,
            Files::Large(megabytes) => large_files(&context, megabytes)?,
        }
        Ok(())
    }

    /// Removes the context and rbuild's state.
    pub(crate) fn clean(&self) -> Result<()> {
        fs_err::remove_dir_all(self.context())?;
        self.buildah.forget()
    }

    /// Measures rbuild once.
    pub(crate) fn rbuild(&self, workload: &Workload) -> Result<Sample> {
        let state = tempfile::tempdir_in(&self.dir)?;
        let rbuild = || {
            let mut command = Command::new(&self.rbuild);
            command.arg("--root").arg(state.path());
            command
        };
        quiet(rbuild().arg("import").arg(&self.busybox).arg("busybox"))?;
        let mut timed = rbuild();
        if workload.kind == Kind::Run {
            quiet(rbuild().args(["run", "--rm", "busybox", "true"]))?;
            timed.args(["run", "--rm", "busybox", "true"]);
        } else {
            let build = |command: &mut Command| {
                command.args(["build", "--progress=plain", "-t", "bench"]);
                if exports(workload) {
                    command.arg("-o").arg(format!("type=oci,dest={}", state.path().join("out.tar").display()));
                }
                command.arg(self.context());
            };
            self.before(workload, &mut |_| {
                let mut first = rbuild();
                build(&mut first);
                quiet(&mut first).map(drop)
            })?;
            build(&mut timed);
        }
        measure(&mut timed)
    }

    /// Measures buildah once.
    pub(crate) fn buildah(&self, workload: &Workload) -> Result<Sample> {
        self.buildah.forget()?;
        let mut timed = self.buildah.command();
        if workload.kind == Kind::Run {
            let container = quiet(self.buildah.command().args(["from", "busybox"]))?;
            timed.args(["run", container.trim(), "true"]);
            let sample = measure(&mut timed);
            quiet(self.buildah.command().args(["rm", container.trim()]))?;
            return sample;
        }
        let archive = self.dir.join("buildah.tar");
        let build = |command: &mut Command| {
            command.args(["bud", "--layers", "--pull-never", "--jobs", "8"]);
            let tag = if exports(workload) { format!("oci-archive:{}", archive.display()) } else { "bench".to_owned() };
            command.arg("-t").arg(tag).arg(self.context());
        };
        self.before(workload, &mut |_| {
            let mut first = self.buildah.command();
            build(&mut first);
            quiet(&mut first).map(drop)
        })?;
        build(&mut timed);
        let sample = measure(&mut timed);
        if archive.exists() {
            fs_err::remove_file(&archive)?;
        }
        sample
    }

    /// Measures BuildKit once; `None` for what it does not do. The daemon's memory is not in the sample.
    pub(crate) fn buildkit(&self, workload: &Workload) -> Result<Option<Sample>> {
        let Some(layout) = self.buildkit.as_ref().filter(|_| workload.kind != Kind::Run) else { return Ok(None) };
        quiet(Command::new("buildctl").args(["prune", "--all"]))?;
        let archive = self.dir.join("buildkit.tar");
        let index: serde_json::Value = serde_json::from_slice(&fs_err::read(layout.join("index.json"))?)?;
        let digest = index["manifests"][0]["digest"].as_str().unwrap_or_default().to_owned();
        let build = |command: &mut Command| {
            command.args(["build", "--progress=plain", "--frontend=dockerfile.v0"]);
            command.arg("--oci-layout").arg(format!("base={}", layout.display()));
            command.arg("--opt").arg(format!("context:busybox=oci-layout://base@{digest}"));
            for name in ["context", "dockerfile"] {
                command.arg("--local").arg(format!("{name}={}", self.context().display()));
            }
            if exports(workload) {
                command.arg("--output").arg(format!("type=oci,dest={}", archive.display()));
            }
        };
        // The base image is unpacked before the clock starts, as it is for the others.
        let warm = self.dir.join("warm");
        fs_err::create_dir_all(&warm)?;
        fs_err::write(warm.join("Dockerfile"), "FROM busybox\nRUN true\n")?;
        let mut first = Command::new("buildctl");
        first.args(["build", "--frontend=dockerfile.v0", "--oci-layout"]).arg(format!("base={}", layout.display()));
        first.arg("--opt").arg(format!("context:busybox=oci-layout://base@{digest}"));
        first
            .arg("--local")
            .arg(format!("context={}", warm.display()))
            .arg("--local")
            .arg(format!("dockerfile={}", warm.display()));
        quiet(&mut first)?;
        self.before(workload, &mut |_| {
            let mut first = Command::new("buildctl");
            build(&mut first);
            quiet(&mut first).map(drop)
        })?;
        let mut timed = Command::new("buildctl");
        build(&mut timed);
        let sample = measure(&mut timed)?;
        if archive.exists() {
            fs_err::remove_file(&archive)?;
        }
        Ok(Some(sample))
    }

    fn context(&self) -> PathBuf {
        self.dir.join("context")
    }

    /// The build before the measured one, and the change between the two.
    fn before(&self, workload: &Workload, build: &mut dyn FnMut(&Workload) -> Result<()>) -> Result<()> {
        match workload.kind {
            Kind::Cold | Kind::Run => {}
            Kind::Unchanged => build(workload)?,
            Kind::OneByte => {
                build(workload)?;
                let file = self.context().join("d0/f0");
                let mut bytes = fs_err::read(&file)?;
                bytes[0] = bytes[0].wrapping_add(1);
                fs_err::write(&file, bytes)?;
            }
        }
        Ok(())
    }
}

fn exports(workload: &Workload) -> bool {
    matches!((workload.kind, workload.context), (Kind::Cold, Files::Small(_) | Files::Large(_)))
}

fn dockerfile(workload: &Workload) -> String {
    let mut text = String::from("FROM busybox\n");
    match workload.name {
        "run20" => (0..20).for_each(|n| writeln!(text, "RUN echo {n} >/file{n}").expect("writing to a string")),
        "sleep8" => {
            text.clear();
            (0..8)
                .for_each(|n| writeln!(text, "FROM busybox AS s{n}\nRUN sleep 2; echo {n} >/f{n}").expect("writing to a string"));
            text += "FROM busybox\n";
            (0..8).for_each(|n| writeln!(text, "COPY --from=s{n} /f{n} /f{n}").expect("writing to a string"));
        }
        _ => text += "COPY . /data\n",
    }
    text
}

/// A small fast generator (xorshift64*), so that every run has the same files.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Bytes about as compressible as programs: words of a small vocabulary with noise between.
fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 32);
    while out.len() < len {
        let value = random.next();
        if value % 10 < 6 {
            out.extend_from_slice(format!("word{} ", (value >> 8) % 500).as_bytes());
        } else {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    out.truncate(len);
    out
}

fn small_files(context: &Path, count: usize) -> Result<()> {
    let mut random = Random(42);
    for file in 0..count {
        let dir = context.join(format!("d{}", file / 100));
        if file % 100 == 0 {
            fs_err::create_dir_all(&dir)?;
        }
        let len = usize::try_from(random.next() % 4600)? + 10;
        fs_err::write(dir.join(format!("f{}", file % 100)), bytes(&mut random, len))?;
    }
    Ok(())
}

fn large_files(context: &Path, megabytes: usize) -> Result<()> {
    let mut random = Random(7);
    for file in 0..megabytes / 8 {
        fs_err::write(context.join(format!("lib{file}.so")), bytes(&mut random, 8 << 20))?;
    }
    Ok(())
}
