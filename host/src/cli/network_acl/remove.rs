//! `plinth network-acl remove`: a rule less.

use clap::Args;

use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::rule::Place;

/// Take a rule out of a network ACL
///
/// Examples:
///   plinth network-acl remove shop/default 100 inbound
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Remove {
    #[command(flatten)]
    place: Place,
}

impl Remove {
    pub(super) fn execute(self) -> Outcome {
        let (direction, number) = (self.place.direction(), self.place.number);
        let acl = self.place.acl;
        let switches = Switches::of_this_user()?;
        change::change(&switches, &acl.vpc, |vpc| {
            vpc.remove_acl_rule(&acl.name, direction, number)
        })?;
        Ok(ExitStatus::Success)
    }
}
