//! `plinth address disassociate`: a machine is no longer known by a public address.

use std::net::Ipv4Addr;

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Have nothing be known by a public address, which stays the network's
///
/// What is under way with it ends.
///
/// Examples:
///   plinth address disassociate shop/203.0.113.7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Disassociate {
    /// The network, and the public address
    #[arg(value_name = "VPC/ADDRESS")]
    address: InVpc<Ipv4Addr>,
}

impl Disassociate {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.address;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.disassociate_address(name))?;
        Ok(ExitStatus::Success)
    }
}
