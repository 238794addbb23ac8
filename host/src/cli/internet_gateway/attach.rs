//! `plinth internet-gateway attach`: a way out that was not there.

use clap::Args;
use network::name::Name;

use crate::switch::directory::Switches;
use crate::switch::gateway;

use super::super::Outcome;
use super::super::output::print;

/// Give a network an internet gateway
///
/// Prints its id. No route leads to it yet.
///
/// Examples:
///   plinth internet-gateway attach shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Attach {
    /// The network's name
    #[arg(value_name = "VPC")]
    vpc: Name,
}

impl Attach {
    pub(super) fn execute(self) -> Outcome {
        let id = gateway::attach(&Switches::of_this_user()?, &self.vpc)?;
        print(&format!("{id}\n"))
    }
}
