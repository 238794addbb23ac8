//! `plinth route associate`: another route table for a subnet.

use clap::Args;
use network::name::Name;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Have a subnet's packets go by another route table
///
/// Examples:
///   plinth route associate shop/back private
///   plinth route associate shop/back main
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Associate {
    /// The network, and the subnet's name
    #[arg(value_name = "VPC/SUBNET")]
    subnet: InVpc,

    /// The route table's name
    #[arg(value_name = "TABLE")]
    table: Name,
}

impl Associate {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.subnet;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.associate(&name, &self.table))?;
        Ok(ExitStatus::Success)
    }
}
