//! `plinth network-acl associate`: another network ACL for a subnet.

use clap::Args;
use network::name::Name;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Have another network ACL say what crosses a subnet's border
///
/// Examples:
///   plinth network-acl associate shop/back private
///   plinth network-acl associate shop/back default
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Associate {
    /// The network, and the subnet's name
    #[arg(value_name = "VPC/SUBNET")]
    subnet: InVpc,

    /// The network ACL's name
    #[arg(value_name = "NAME")]
    acl: Name,
}

impl Associate {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.subnet;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| {
            vpc.associate_network_acl(&name, &self.acl)
        })?;
        Ok(ExitStatus::Success)
    }
}
