//! `plinth security-group delete`: a group, gone.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;

/// Delete a security group
///
/// One that a machine has, or that a rule is about, is not deleted.
///
/// Examples:
///   plinth security-group delete shop/web
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "rm")]
pub(super) struct Delete {
    /// The network, and the group's name
    #[arg(value_name = "VPC/NAME")]
    group: InVpc,
}

impl Delete {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.group;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.remove_group(&name))?;
        Ok(ExitStatus::Success)
    }
}
