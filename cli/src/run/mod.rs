//! `rbuild run`: one process on a fresh state of an image. Nothing of it is kept.

mod attach;
mod command;
mod mounts;
mod network;

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use rbuild_executor::{Executor, ExitStatus, Network, Process, Spec, Stdio};
use rbuild_exporter::StoredImage;
use tokio::runtime::Builder;

use crate::args::{Global, RunArgs};
use crate::failure::{Class, Failure};
use crate::images::find;
use crate::state::State;
use crate::{environment, sync};
use command::Overrides;
use mounts::Mounts;

/// The flags as meant.
#[derive(Debug)]
struct Plan {
    overrides: Overrides,
    mounts: Mounts,
    network: Network,
    hostname: String,
    interactive: bool,
    tty: bool,
    read_only: bool,
    name: Option<String>,
}

/// Runs the command; its exit code is the process's.
pub(crate) fn run(global: &Global, typed: &RunArgs) -> Result<ExitCode, Failure> {
    attempt(global, typed).map_err(Failure::of_run)
}

fn attempt(global: &Global, typed: &RunArgs) -> Result<ExitCode, Failure> {
    if typed.detach {
        return Err(Failure::not_supported("--detach"));
    }
    let plan = Plan::new(typed).map_err(Failure::usage)?;
    let state = State::open(global)?;
    let _name = match &plan.name {
        Some(name) => Some(take_name(&state, name)?),
        None => None,
    };
    let found = find::image(&state, &typed.image)
        .map_err(|failure| failure.hint("`rbuild images` lists what is there; pulling is not supported yet"))?;
    let image = rbuild_exporter::stored(&state.snapshotter, &found)?;
    let parent = rbuild_exporter::unpack(&state.snapshotter, &image)?;
    let driver = state.snapshotter.driver();
    let active = driver.prepare(parent.as_ref())?;
    let spec = plan.spec(&image, driver.mount(&active)?)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| Failure::new(Class::Internal, error))?;
    let executor = Executor::new(None)?;
    let code = runtime.block_on(plan.follow(&executor, spec))?;
    drop(active);
    sync::start(&state.store);
    Ok(ExitCode::from(code))
}

/// A name is one running container's.
fn take_name(state: &State, name: &str) -> Result<rbuild_store::KeyLock, Failure> {
    let lock = state.store.try_lock(&format!("container {name}"))?;
    lock.ok_or_else(|| Failure::usage(anyhow!("a container with the name `{name}` is running")))
}

impl Plan {
    fn new(typed: &RunArgs) -> anyhow::Result<Plan> {
        let stdin_is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        if typed.tty && typed.interactive && !stdin_is_terminal {
            bail!("standard input is not a terminal, which `-it` needs");
        }
        let network = match typed.network.as_str() {
            "host" => Network::Host,
            "none" => Network::None,
            other => bail!("--network {other} is not supported yet; there are host and none"),
        };
        Ok(Plan {
            overrides: Overrides::new(typed, environment::variable)?,
            mounts: Mounts::parse(&typed.volume, &typed.tmpfs)?,
            network,
            hostname: match &typed.hostname {
                Some(name) => checked_name("host name", name)?,
                None => random_hostname()?,
            },
            interactive: typed.interactive,
            tty: typed.tty,
            read_only: typed.read_only,
            name: typed.name.as_deref().map(|name| checked_name("container name", name)).transpose()?,
        })
    }

    fn spec(&self, image: &StoredImage, root: rbuild_fs::MountSource) -> Result<Spec, Failure> {
        let command = self.overrides.merge(&image.image_config.config, &self.hostname, self.tty).map_err(Failure::usage)?;
        Ok(Spec {
            root,
            readonly_root: self.read_only,
            args: command.args,
            env: command.env,
            cwd: command.cwd,
            user: command.user,
            hostname: self.hostname.clone(),
            network: self.network,
            mounts: self.mounts.open().map_err(Failure::usage)?,
            clean_stubs: false,
            hosts: Some(network::hosts(&self.hostname)),
            resolv_conf: network::resolv_conf(),
            privileged: false,
            shm_size: 64 << 20,
            ulimits: Vec::new(),
        })
    }

    /// Starts the process and stays with it to its end.
    async fn follow(&self, executor: &Executor, spec: Spec) -> Result<u8, Failure> {
        let signals = attach::Signals::listen().map_err(|error| Failure::new(Class::Internal, error))?;
        let stdio = self.stdio().map_err(|error| Failure::new(Class::Internal, error))?;
        let mut process: Process = executor.spawn(spec, stdio).await?;
        let terminal = match process.terminal() {
            Some(master) => {
                Some(attach::Terminal::attach(master, self.interactive).map_err(|error| Failure::new(Class::Internal, error))?)
            }
            None => None,
        };
        let exit = attach::wait(&mut process, signals, terminal.as_ref()).await;
        if let Some(terminal) = terminal {
            terminal.finish();
        }
        Ok(exit_code(exit?.status))
    }

    fn stdio(&self) -> anyhow::Result<Stdio> {
        if self.tty {
            let (rows, columns) = attach::window();
            return Ok(Stdio::Terminal { rows, columns });
        }
        let stdin: OwnedFd = if self.interactive {
            std::io::stdin().as_fd().try_clone_to_owned().context("standard input")?
        } else {
            fs_err::File::open("/dev/null")?.into_parts().0.into()
        };
        Ok(Stdio::Inherit {
            stdin,
            stdout: std::io::stdout().as_fd().try_clone_to_owned().context("standard output")?,
            stderr: std::io::stderr().as_fd().try_clone_to_owned().context("standard error")?,
        })
    }
}

/// A signal is 128 and its number, as a shell has it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => 128 + signal,
    };
    u8::try_from(code & 0xff).unwrap_or(255)
}

/// Docker's rule for container names; host names are bounded by the kernel.
fn checked_name(what: &str, name: &str) -> anyhow::Result<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !begins_well || !name.bytes().all(allowed) || name.len() > 64 {
        bail!("invalid {what} `{name}`: at most 64 letters, digits and `_.-`, the first a letter or digit");
    }
    Ok(name.to_owned())
}

/// Twelve hexadecimal digits, like the short id of a container.
fn random_hostname() -> anyhow::Result<String> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(exit_code(ExitStatus::Code(0)), 0);
        assert_eq!(exit_code(ExitStatus::Code(3)), 3);
        assert_eq!(exit_code(ExitStatus::Signal(9)), 137);
        assert_eq!(exit_code(ExitStatus::Code(-1)), 255);
    }

    #[test]
    fn names_are_dockers() {
        for name in ["web", "web-1.a_b", "0"] {
            assert!(checked_name("container name", name).is_ok(), "{name}");
        }
        for name in ["", "-web", "a b", "a/b", &"x".repeat(65)] {
            assert!(checked_name("container name", name).is_err(), "{name}");
        }
        assert_eq!(random_hostname().unwrap().len(), 12);
    }
}
