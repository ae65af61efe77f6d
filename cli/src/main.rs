//! The command line: terminal, environment, exit codes. Everything else is in the libraries.

mod args;
mod build;
mod clock;
mod environment;
mod failure;
mod human;
mod images;
mod output;
mod progress;
mod prune;
mod run;
mod state;
mod sync;
mod table;
mod values;

use std::process::ExitCode;

use args::{Command, ImageCommand, SystemCommand};
use clap::Parser;
use failure::{Class, Failure};

fn main() -> ExitCode {
    // A sandbox child is this program: it must become one before anything else, above all before any thread.
    rbuild_executor::run_child_if_asked();
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    trace(arguments.global.debug);
    match dispatch(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Clap's own word on a line that it does not understand, or the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when this cannot be written.
    drop(error.print());
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let is_run = std::env::args().skip(1).find(|word| !word.starts_with('-')).is_some_and(|word| word == "run");
    if is_run { Class::Engine.into() } else { Class::Usage.into() }
}

fn trace(debug: bool) {
    let level = if debug { tracing::Level::DEBUG } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).without_time().init();
}

fn dispatch(arguments: args::Arguments) -> Result<ExitCode, Failure> {
    let global = arguments.global;
    match arguments.command {
        Command::Build(typed) => build::build(&global, &typed),
        Command::Run(typed) => run::run(&global, &typed),
        Command::Images(typed) | Command::Image(ImageCommand::Ls(typed)) => images::list(&global, &typed),
        Command::Rmi(typed) | Command::Image(ImageCommand::Rm(typed)) => images::remove(&global, &typed),
        Command::Tag(typed) | Command::Image(ImageCommand::Tag(typed)) => images::tag(&global, &typed),
        Command::History(typed) | Command::Image(ImageCommand::History(typed)) => images::history(&global, &typed),
        Command::Inspect(typed) | Command::Image(ImageCommand::Inspect(typed)) => images::inspect(&global, &typed),
        Command::Save(typed) | Command::Image(ImageCommand::Save(typed)) => images::save(&global, &typed),
        Command::Load(typed) | Command::Image(ImageCommand::Load(typed)) => images::load(&global, &typed),
        Command::Import(typed) | Command::Image(ImageCommand::Import(typed)) => images::import(&global, &typed),
        Command::Image(ImageCommand::Build(typed)) => build::build(&global, &typed),
        Command::Prune(typed) | Command::System(SystemCommand::Prune(typed)) => prune::prune(&global, &typed),
        Command::Du(typed) | Command::System(SystemCommand::Df(typed)) => prune::disk_usage(&global, &typed),
        Command::Sync => sync::run(&global),
    }
}
