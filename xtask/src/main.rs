//! plinth's own commands, one file each: `cargo xtask` lists them.
//! Nothing is assumed but a Rust toolchain; what else a command needs it
//! names, and installs where it may.

mod check;
mod demo;
mod guest;
mod image;
mod messages;
mod packages;
mod tally;
mod terminal;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// plinth's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Test(test::Test),
    Check(check::Check),
    Guest(guest::Guest),
    Image(image::Image),
    Packages(packages::Packages),
    #[command(hide = true)]
    Stage(demo::stage::Stage),
}

fn main() -> ExitCode {
    messages::to_standard_error();
    let result = match Arguments::parse().command {
        Command::Demo(demo) => demo.run(),
        Command::Test(test) => test.run(),
        Command::Check(check) => check.run(),
        Command::Guest(guest) => guest.run(),
        Command::Image(image) => image.run(),
        Command::Packages(packages) => packages.run(),
        Command::Stage(stage) => stage.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
