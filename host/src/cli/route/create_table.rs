//! `plinth route create-table`: a route table that was not there.

use clap::Args;

use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::print;

/// Make a route table, which leads to the network itself only
///
/// Prints its id. No subnet goes by it until it is associated.
///
/// Examples:
///   plinth route create-table shop/private
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CreateTable {
    /// The network, and what to call it
    #[arg(value_name = "VPC/NAME")]
    table: InVpc,
}

impl CreateTable {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.table;
        let switches = Switches::of_this_user()?;
        let id = change::change(&switches, &vpc, |vpc| {
            vpc.add_route_table(name).map(|table| table.id)
        })?;
        print(&format!("{id}\n"))
    }
}
