//! `plinth security-group list`: the groups of a network.

use clap::Args;
use network::name::Name;
use serde_json::json;

use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// List the security groups of a network
///
/// Examples:
///   plinth security-group list shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "ls")]
pub(super) struct List {
    /// The network's name
    #[arg(value_name = "VPC")]
    vpc: Name,

    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let record = Switches::of_this_user()?.read(&self.vpc)?;
        let vpc = record.vpc(&self.vpc)?;
        if self.output.format == Format::Json {
            return print_json(&json!(vpc.groups()));
        }
        let titles = ["NAME", "ID", "PORTS", "INBOUND", "OUTBOUND", "DESCRIPTION"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        for (name, group) in vpc.groups() {
            rows.push(vec![
                name.to_string(),
                group.id.to_string(),
                vpc.members(name).count().to_string(),
                group.inbound.len().to_string(),
                group.outbound.len().to_string(),
                group.description.clone(),
            ]);
        }
        print(&aligned(&rows))
    }
}
