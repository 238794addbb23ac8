//! `plinth subnet delete`: a subnet, gone.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Delete a subnet
///
/// One that machines are plugged into, or that has a NAT gateway, is not deleted.
///
/// Examples:
///   plinth subnet delete shop/front
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The network, and the subnet's name
    #[arg(value_name = "VPC/NAME")]
    subnet: InVpc,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.subnet;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.remove_subnet(&name))?;
        Ok(ExitStatus::Success)
    }
}
