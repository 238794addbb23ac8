//! `plinth security-group show`: the rules of a group.

use clap::Args;
use network::security_group::Direction;
use serde_json::json;

use crate::error::Error;
use crate::option::in_vpc::InVpc;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// Show the rules of a security group
///
/// Examples:
///   plinth security-group show shop/web
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The network, and the group's name
    #[arg(value_name = "VPC/NAME")]
    group: InVpc,

    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = &self.group;
        let record = Switches::of_this_user()?.read(vpc)?;
        let group = record
            .vpc(&self.group.vpc)?
            .groups()
            .get(name)
            .ok_or_else(|| {
                Error::configuration(format!("there is no security group '{name}' in '{vpc}'"))
                    .remedy(format!("one that plinth security-group list {vpc} lists"))
            })?;
        if self.output.format == Format::Json {
            return print_json(&json!(group));
        }
        let titles = ["DIRECTION", "TRAFFIC", "PEER"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        for direction in [Direction::Inbound, Direction::Outbound] {
            for rule in group.rules(direction) {
                rows.push(vec![
                    direction.to_string(),
                    rule.traffic.to_string(),
                    rule.peer.to_string(),
                ]);
            }
        }
        print(&aligned(&rows))
    }
}
