//! `cargo xtask`: set-up, demo, tests, benchmarks and distribution, for developers and for CI.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr, reason = "a developer's command line")]

mod bench;
mod conformance;
mod demo;
mod dist;
mod images;
mod peer;
mod process;
mod setup;
mod test;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo                       set up this machine, build the example image, run it, save it, load it back
  test [FILTER]              set up this machine, run every check and every test (or those whose name has FILTER)
  bench [--quick] [NAME…]    run the benchmarks against buildah and write docs/benchmarks.md
  dist                       build the static release binary and check it in an empty chroot
  conformance DIR [ARGS…]    run a folder of Dockerfile cases (DIR/run.py) against the release binary
";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["demo"] => demo::run(),
        ["test", rest @ ..] => test::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["dist"] => dist::run(),
        ["conformance", dir, rest @ ..] => conformance::run(dir.as_ref(), rest),
        ["help" | "--help" | "-h"] | [] => {
            eprint!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            bail!("unknown command `{}`", words.join(" "))
        }
    }
}
