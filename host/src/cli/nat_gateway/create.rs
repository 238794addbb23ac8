//! `plinth nat-gateway create`: a NAT gateway that was not there.

use std::net::Ipv4Addr;

use clap::Args;
use network::name::Name;

use crate::option::in_vpc::InVpc;
use crate::switch::directory::Switches;
use crate::switch::gateway;

use super::super::Outcome;
use super::super::output::print;

/// Make a NAT gateway
///
/// Prints its id. The network needs an internet gateway. No route leads to the new one
/// yet.
///
/// Examples:
///   plinth nat-gateway create shop/egress --subnet front
///   plinth nat-gateway create shop/egress --subnet front --address 203.0.113.7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// The network, and what to call it
    #[arg(value_name = "VPC/NAME")]
    gateway: InVpc,

    /// The subnet that it is in
    #[arg(long, value_name = "SUBNET")]
    subnet: Name,

    /// Its public address, of those of the network [default: another is allocated]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.gateway;
        let switches = Switches::of_this_user()?;
        let made = gateway::create_nat_gateway(&switches, &vpc, name, self.subnet, self.address)?;
        print(&format!("{}\n", made.id))
    }
}
