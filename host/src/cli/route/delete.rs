//! `plinth route delete`: a way out of a network less.

use clap::Args;
use network::cidr::Cidr;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Take a route out of a route table
///
/// Examples:
///   plinth route delete shop/main 0.0.0.0/0
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The network, and the route table's name
    #[arg(value_name = "VPC/TABLE")]
    table: InVpc,

    /// Where it leads
    #[arg(value_name = "RANGE")]
    destination: Cidr,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.table;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| {
            vpc.remove_route(&name, self.destination)
        })?;
        Ok(ExitStatus::Success)
    }
}
