//! `rbuild build`: from flags to a request, through the builder, to an image and an exit code.

mod context;
mod contexts;
mod explain;
mod inputs;
mod plan;
mod result;
mod secrets;
mod unpack;

use std::process::ExitCode;
use std::sync::Arc;

use rbuild_builder::{BuildError, BuildRequest, BuildResult};
use rbuild_executor::Executor;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{BuildArgs, Global};
use crate::environment;
use crate::failure::{Class, Failure, note, print};
use crate::progress::{FailedStep, Kind, Progress};
use crate::state::State;
use crate::sync;
use plan::Plan;

pub(crate) use plan::tag_name;

/// Runs the command.
pub(crate) fn build(global: &Global, typed: &BuildArgs) -> Result<ExitCode, Failure> {
    let plan = Plan::new(typed).map_err(Failure::usage)?;
    let done = attempt(global, &plan);
    let written = match &done {
        Ok(done) => result::write(&plan, done),
        Err(failure) => result::write_failure(&plan, failure),
    };
    match (done, written) {
        (Err(failure), Ok(()) | Err(_)) | (Ok(_), Err(failure)) => Err(failure),
        (Ok(done), Ok(())) => {
            print_id(&plan, &done)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One build; the state is closed at its end, whatever it was.
fn attempt(global: &Global, plan: &Plan) -> Result<BuildResult, Failure> {
    let state = State::open(global)?;
    let inputs = inputs::read(plan, &state.session)?;
    let source = inputs.dockerfile.clone();
    let request = plan.request(inputs).map_err(Failure::usage)?;
    let progress = Progress::start(plan.progress);
    let built = run(request, &state, &progress);
    let failed = progress.finish();
    sync::start(&state.store);
    match built {
        Ok(done) => {
            if plan.progress != Kind::None && plan.progress != Kind::Quiet && !done.warnings.is_empty() {
                note(&explain::warnings(&source, &done.warnings, global.debug));
            }
            Ok(done)
        }
        Err(Stopped::Build(error)) => Err(explain::failure(&source, *error, shown(plan, &failed))),
        Err(Stopped::Start(failure)) => Err(failure),
    }
}

/// Where the whole output was shown already, the last lines are enough; where nothing was, they are all there is. Raw JSON stays JSON.
fn shown<'a>(plan: &Plan, failed: &'a [FailedStep]) -> &'a [FailedStep] {
    match plan.progress {
        Kind::RawJson => &[],
        Kind::Plain | Kind::Terminal | Kind::Quiet | Kind::None => failed,
    }
}

enum Stopped {
    Start(Failure),
    Build(Box<BuildError>),
}

impl<T: Into<Failure>> From<T> for Stopped {
    fn from(error: T) -> Stopped {
        Stopped::Start(error.into())
    }
}

fn run(request: BuildRequest, state: &State, progress: &Progress) -> Result<BuildResult, Stopped> {
    let runtime = runtime()?;
    let executor = Executor::new(None)?;
    let config = rbuild_http::Config { proxies: environment::proxies(), ..rbuild_http::Config::default() };
    let http = rbuild_http::Client::with_config(config);
    let cancel = CancellationToken::new();
    let built = runtime.block_on(async {
        tokio::spawn(cancel_on_signals(signals()?, cancel.clone()));
        let built = rbuild_builder::build(request, state.snapshotter.clone(), executor, http, progress.sink(), cancel.clone());
        built.await.map_err(|error| Stopped::Build(Box::new(error)))
    });
    // A blocking thread that still waits for something must not hold up the end.
    runtime.shutdown_background();
    built
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(|error| Failure::new(Class::Internal, error))
}

fn signals() -> Result<[Signal; 3], Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(Class::Internal, error));
    Ok([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?])
}

/// The first signal cancels the build, which ends its processes and says so; the second ends rbuild at once (its sandboxes die with it).
async fn cancel_on_signals([mut interrupt, mut terminate, mut hangup]: [Signal; 3], cancel: CancellationToken) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        if cancel.is_cancelled() {
            std::process::exit(Class::Cancelled.code().into());
        }
        cancel.cancel();
    }
}

/// `-q` prints the image's id, if there is an image.
fn print_id(plan: &Plan, done: &BuildResult) -> Result<(), Failure> {
    match (&done.image, plan.progress) {
        (Some(image), Kind::Quiet) if !plan.writes_stdout() => print(&format!("{}\n", image.config)),
        _ => Ok(()),
    }
}

/// Shared by the parts that read input.
type Session = Arc<rbuild_store::Session>;
