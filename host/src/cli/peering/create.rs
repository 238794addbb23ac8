//! `plinth peering create`: two networks connected.

use clap::Args;
use network::name::Name;

use crate::switch::directory::Switches;
use crate::switch::peering;

use super::super::Outcome;
use super::super::output::print;

/// Peer two networks
///
/// Prints the peering's id. Nothing goes by it until both networks have a route to it.
///
/// Examples:
///   plinth peering create partners shop bank
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// What to call it, in both networks
    #[arg(value_name = "NAME")]
    name: Name,

    /// One of the networks
    #[arg(value_name = "VPC")]
    first: Name,

    /// The other
    #[arg(value_name = "PEER")]
    second: Name,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        let id = peering::create(&switches, &self.name, &self.first, &self.second)?;
        print(&format!("{id}\n"))
    }
}
