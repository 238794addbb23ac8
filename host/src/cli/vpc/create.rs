//! `plinth vpc create`: a network that was not there.

use clap::Args;
use network::cidr::Cidr;
use network::name::Name;

use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::print;

/// Make a virtual private network
///
/// Prints its id. It has no subnets yet.
///
/// Examples:
///   plinth vpc create shop
///   plinth vpc create shop --cidr 192.168.16.0/20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// What to call it
    #[arg(value_name = "NAME")]
    name: Name,

    /// Its addresses, from a /16 to a /28
    #[arg(long, value_name = "RANGE", default_value = "10.0.0.0/16")]
    cidr: Cidr,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let vpc = change::create_vpc(&Switches::of_this_user()?, self.name, self.cidr)?;
        print(&format!("{}\n", vpc.id))
    }
}
