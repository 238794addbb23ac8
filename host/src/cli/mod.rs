//! The command line: what the user typed, told apart and handed on.
//!
//! One file for each subcommand. Errors end here, as one message on standard
//! error and an exit status.

mod address;
mod completions;
mod doctor;
mod explain;
mod internet_gateway;
mod limits;
mod load_blocks;
mod nat_gateway;
mod network_acl;
mod output;
mod peering;
mod route;
mod run;
mod security_group;
mod serve_network;
mod snapshot;
mod store_snapshot;
mod subnet;
mod switch;
mod table;
mod usage;
mod vm;
mod volume;
mod vpc;

use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, Parser, Subcommand};

use crate::client::connection;
use crate::error::Error;
use crate::exit::{self, ExitStatus};

/// Run virtual machines with KVM.
#[derive(Debug, Parser)]
#[command(name = "plinth", version, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Vm(vm::Vm),
    Volume(volume::Volume),
    Snapshot(snapshot::Snapshot),
    Switch(switch::Switch),
    Vpc(vpc::Vpc),
    Subnet(subnet::Subnet),
    Route(route::Route),
    SecurityGroup(security_group::SecurityGroup),
    NetworkAcl(network_acl::NetworkAcl),
    InternetGateway(internet_gateway::InternetGateway),
    NatGateway(nat_gateway::NatGateway),
    Peering(peering::Peering),
    Address(address::Address),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    #[command(hide = true)]
    LoadBlocks(load_blocks::LoadBlocks),
    #[command(hide = true)]
    ServeNetwork(serve_network::ServeNetwork),
    #[command(hide = true)]
    StoreSnapshot(store_snapshot::StoreSnapshot),
}

/// Does what the command line says. Wrong usage ends the process here, with
/// clap's message and status 2.
pub fn main() -> ExitCode {
    let asked = Instant::now();
    let cli = Cli::try_parse().unwrap_or_else(|error| usage::readable(error).exit());
    let result = match cli.command {
        Command::Run(run) => run.execute(asked),
        Command::Vm(vm) => vm.execute(),
        Command::Volume(volume) => volume.execute(),
        Command::Snapshot(snapshot) => snapshot.execute(),
        Command::Switch(switch) => switch.execute(),
        Command::Vpc(vpc) => vpc.execute(),
        Command::Subnet(subnet) => subnet.execute(),
        Command::Route(route) => route.execute(),
        Command::SecurityGroup(group) => group.execute(),
        Command::NetworkAcl(acl) => acl.execute(),
        Command::InternetGateway(gateway) => gateway.execute(),
        Command::NatGateway(gateway) => gateway.execute(),
        Command::Peering(peering) => peering.execute(),
        Command::Address(address) => address.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Doctor(doctor) => doctor.execute(),
        Command::Completions(completions) => completions.execute(&mut Cli::command()),
        Command::LoadBlocks(load) => load.execute(),
        Command::ServeNetwork(serve) => serve.execute(),
        Command::StoreSnapshot(store) => store.execute(),
    };
    let status = result.unwrap_or_else(|error: Error| {
        eprintln!("plinth: {}", error.report());
        error.exit_status()
    });
    status.into()
}

/// The result of a command.
type Outcome = Result<ExitStatus, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
