//! `plinth route delete-table`: a route table, gone.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Delete a route table
///
/// One that a subnet is associated with is not deleted.
///
/// Examples:
///   plinth route delete-table shop/private
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DeleteTable {
    /// The network, and the route table's name
    #[arg(value_name = "VPC/TABLE")]
    table: InVpc,
}

impl DeleteTable {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.table;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.remove_route_table(&name))?;
        Ok(ExitStatus::Success)
    }
}
