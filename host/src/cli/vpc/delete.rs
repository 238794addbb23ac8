//! `plinth vpc delete`: a network and all that is in it, gone.

use clap::Args;
use network::name::Name;

use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Delete a virtual private network with its subnets, groups, gateways and public
/// addresses
///
/// One that machines are plugged into is not deleted.
///
/// Examples:
///   plinth vpc delete shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The network's name
    #[arg(value_name = "VPC")]
    vpc: Name,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        switches.read(&self.vpc)?.vpc(&self.vpc)?;
        change::delete(&switches, &self.vpc)?;
        Ok(ExitStatus::Success)
    }
}
