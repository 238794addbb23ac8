//! `plinth address allocate`: a public address more for a network.

use std::net::Ipv4Addr;

use clap::Args;
use network::name::Name;

use crate::switch::directory::Switches;
use crate::switch::gateway;

use super::super::Outcome;
use super::super::output::print;

/// Give a network a public address
///
/// Prints it. Nothing is associated with it yet. No other network of this host has it.
///
/// Examples:
///   plinth address allocate shop
///   plinth address allocate shop --address 203.0.113.7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Allocate {
    /// The network's name
    #[arg(value_name = "VPC")]
    vpc: Name,

    /// One that is routed to this host [default: the next of 198.19.0.0/16]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
}

impl Allocate {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        let address = gateway::allocate(&switches, &self.vpc, self.address)?;
        print(&format!("{address}\n"))
    }
}
