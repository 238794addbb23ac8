//! `plinth network-acl show`: the rules of a network ACL.

use clap::Args;
use network::security_group::Direction;
use serde_json::json;

use crate::error::Error;
use crate::option::in_vpc::InVpc;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// Show the rules of a network ACL, in the order in which they are asked
///
/// Examples:
///   plinth network-acl show shop/private
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The network, and the network ACL's name
    #[arg(value_name = "VPC/NAME")]
    acl: InVpc,

    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn execute(self) -> Outcome {
        let InVpc { vpc, name } = &self.acl;
        let record = Switches::of_this_user()?.read(vpc)?;
        let acls = record.vpc(vpc)?.network_acls();
        let acl = acls.get(name).ok_or_else(|| {
            Error::configuration(format!("there is no network ACL '{name}' in '{vpc}'"))
                .remedy(format!("one that plinth network-acl list {vpc} lists"))
        })?;
        if self.output.format == Format::Json {
            return print_json(&json!(acl));
        }
        let titles = ["DIRECTION", "NUMBER", "ACTION", "TRAFFIC", "PEER"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        for direction in [Direction::Inbound, Direction::Outbound] {
            for (number, rule) in acl.rules(direction) {
                rows.push(vec![
                    direction.to_string(),
                    number.to_string(),
                    rule.action.to_string(),
                    rule.traffic.to_string(),
                    rule.cidr.to_string(),
                ]);
            }
            // EC2's sign for what comes last and cannot be taken away.
            let last = ["*", "deny", "all", "0.0.0.0/0"].map(String::from);
            rows.push([vec![direction.to_string()], last.to_vec()].concat());
        }
        print(&aligned(&rows))
    }
}
