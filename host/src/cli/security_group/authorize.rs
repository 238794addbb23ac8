//! `plinth security-group authorize`: a rule more.

use clap::Args;

use crate::exit::ExitStatus;
use crate::option::in_vpc::InVpc;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::rule::RuleArguments;

/// Let packets through that were dropped
///
/// Examples:
///   plinth security-group authorize shop/web tcp:443 --cidr 0.0.0.0/0
///   plinth security-group authorize shop/db tcp:5432 --group web
///   plinth security-group authorize shop/db udp:53 --cidr 10.0.0.2 --egress
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Authorize {
    /// The network, and the group's name
    #[arg(value_name = "VPC/NAME")]
    group: InVpc,

    #[command(flatten)]
    rule: RuleArguments,
}

impl Authorize {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = self.group;
        let (direction, rule) = (self.rule.direction(), self.rule.rule());
        let switches = Switches::of_this_user()?;
        change::change(&switches, &vpc, |vpc| vpc.authorize(&name, direction, rule))?;
        Ok(ExitStatus::Success)
    }
}
