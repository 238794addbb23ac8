//! `plinth subnet create`: a subnet that was not there.

use clap::Args;
use network::cidr::Cidr;

use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::print;

/// Make a subnet
///
/// Prints its id. Its ports' packets go by the main route table, until another is
/// associated: plinth route associate.
///
/// Examples:
///   plinth subnet create shop/front --cidr 10.0.1.0/24
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// The network, and what to call it
    #[arg(value_name = "VPC/NAME")]
    subnet: InVpc,

    /// Its addresses, from a /16 to a /28 within the network's
    #[arg(long, value_name = "RANGE")]
    cidr: Cidr,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.subnet;
        let switches = Switches::of_this_user()?;
        let id = change::change(&switches, &vpc, |vpc| {
            vpc.add_subnet(name, self.cidr).map(|subnet| subnet.id)
        })?;
        print(&format!("{id}\n"))
    }
}
