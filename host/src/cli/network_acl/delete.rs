//! `plinth network-acl delete`: a network ACL, gone.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Delete a network ACL
///
/// One that a subnet has is not deleted, nor is 'default'.
///
/// Examples:
///   plinth network-acl delete shop/private
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The network, and the network ACL's name
    #[arg(value_name = "VPC/NAME")]
    acl: InVpc,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.acl;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.remove_network_acl(&name))?;
        Ok(ExitStatus::Success)
    }
}
