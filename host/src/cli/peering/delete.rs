//! `plinth peering delete`: a peering, gone at both ends.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::directory::Switches;
use crate::switch::peering;

use super::super::Outcome;

/// Delete a peering, at both ends
///
/// Routes to it lead nowhere then.
///
/// Examples:
///   plinth peering delete shop/partners
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// One of the networks, and the peering's name
    #[arg(value_name = "VPC/NAME")]
    peering: InVpc,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = &self.peering;
        peering::delete(&Switches::of_this_user()?, vpc, name)?;
        Ok(ExitStatus::Success)
    }
}
