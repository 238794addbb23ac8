//! `plinth internet-gateway detach`: a way out less.

use clap::Args;
use network::name::Name;
use network::vpc::Vpc;

use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Take the internet gateway from a network
///
/// One by which somebody is known outside stays. Routes to it are then black holes.
///
/// Examples:
///   plinth internet-gateway detach shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Detach {
    /// The network's name
    #[arg(value_name = "VPC")]
    vpc: Name,
}

impl Detach {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        change::change(&switches, &self.vpc, Vpc::detach_internet_gateway)?;
        Ok(ExitStatus::Success)
    }
}
