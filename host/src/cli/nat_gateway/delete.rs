//! `plinth nat-gateway delete`: a NAT gateway, gone.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Delete a NAT gateway
///
/// Routes to it are then black holes. Its public address stays the network's, until
/// plinth address release.
///
/// Examples:
///   plinth nat-gateway delete shop/egress
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The network, and the NAT gateway's name
    #[arg(value_name = "VPC/NAME")]
    gateway: InVpc,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.gateway;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.remove_nat_gateway(&name))?;
        Ok(ExitStatus::Success)
    }
}
