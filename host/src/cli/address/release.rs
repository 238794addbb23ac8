//! `plinth address release`: a public address less for a network.

use std::net::Ipv4Addr;

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Take a public address from a network
///
/// One that something is associated with stays.
///
/// Examples:
///   plinth address release shop/203.0.113.7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Release {
    /// The network, and the public address
    #[arg(value_name = "VPC/ADDRESS")]
    address: InVpc<Ipv4Addr>,
}

impl Release {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.address;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.release(name))?;
        Ok(ExitStatus::Success)
    }
}
