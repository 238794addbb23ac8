//! `plinth security-group revoke`: a rule less.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::rule::RuleArguments;

/// No longer let packets through that a rule allows
///
/// Connections that are open stay open.
///
/// Examples:
///   plinth security-group revoke shop/web tcp:443 --cidr 0.0.0.0/0
///   plinth security-group revoke shop/db all --cidr 0.0.0.0/0 --egress
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Revoke {
    /// The network, and the group's name
    #[arg(value_name = "VPC/NAME")]
    group: InVpc,

    #[command(flatten)]
    rule: RuleArguments,
}

impl Revoke {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.group;
        let (direction, rule) = (self.rule.direction(), self.rule.rule());
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.revoke(&name, direction, &rule))?;
        Ok(ExitStatus::Success)
    }
}
