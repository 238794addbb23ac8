//! plinth's own commands, one file each: `cargo xtask` lists them.
//! Nothing is assumed but a Rust toolchain; what else a command needs it
//! names, and installs where it may.

mod guest;
mod messages;
mod terminal;
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
    Guest(guest::Guest),
}

fn main() -> ExitCode {
    messages::to_standard_error();
    let result = match Arguments::parse().command {
        Command::Guest(guest) => guest.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
