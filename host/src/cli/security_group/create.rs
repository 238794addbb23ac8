//! `plinth security-group create`: a group that was not there.

use clap::Args;

use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::print;

/// Make a security group
///
/// Prints its id. It lets nothing in and everything out, until rules are added and
/// taken away.
///
/// Examples:
///   plinth security-group create shop/web --description "web servers"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// The network, and what to call it
    #[arg(value_name = "VPC/NAME")]
    group: InVpc,

    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.group;
        let switches = Switches::of_this_user()?;
        let id = change::change(&switches, &vpc, |vpc| {
            vpc.add_group(name, self.description).map(|group| group.id)
        })?;
        print(&format!("{id}\n"))
    }
}
