//! plinth's own commands, one file each: `cargo xtask` lists them.
//! Nothing is assumed but a Rust toolchain; what else a command needs it
//! names, and installs where it may.

mod bench;
mod check;
mod crash;
mod demo;
mod guest;
mod image;
mod messages;
mod packages;
mod storm;
mod tally;
mod terminal;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// plinth's own commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Test(test::Test),
    Check(check::Check),
    Guest(guest::Guest),
    Image(image::Image),
    Bench(bench::Bench),
    Packages(packages::Packages),
    Storm(storm::Storm),
    Crash(crash::Crash),
    #[command(hide = true)]
    Stage(demo::stage::Stage),
}

fn main() -> ExitCode {
    messages::to_standard_error();
    let result = match Arguments::parse().command {
        Some(Command::Demo(demo)) => demo.run(),
        Some(Command::Test(test)) => test.run(),
        Some(Command::Check(check)) => check.run(),
        Some(Command::Guest(guest)) => guest.run(),
        Some(Command::Image(image)) => image.run(),
        Some(Command::Bench(bench)) => bench.run(),
        Some(Command::Packages(packages)) => packages.run(),
        Some(Command::Storm(storm)) => storm.run(),
        Some(Command::Crash(crash)) => crash.run(),
        Some(Command::Stage(stage)) => stage.run(),
        None => list_commands(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn list_commands() -> anyhow::Result<ExitCode> {
    Arguments::command().print_help()?;
    Ok(ExitCode::SUCCESS)
}
