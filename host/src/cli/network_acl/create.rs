//! `plinth network-acl create`: a network ACL that was not there.

use clap::Args;

use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::print;

/// Make a network ACL
///
/// Prints its id. It lets nothing pass, until rules are added.
///
/// Examples:
///   plinth network-acl create shop/private
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// The network, and what to call it
    #[arg(value_name = "VPC/NAME")]
    acl: InVpc,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.acl;
        let switches = Switches::of_this_user()?;
        let id = change::change(&switches, &vpc, |vpc| {
            vpc.add_network_acl(name).map(|acl| acl.id)
        })?;
        print(&format!("{id}\n"))
    }
}
