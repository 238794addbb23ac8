//! `plinth peering list`: the peerings of a network.

use clap::Args;
use network::name::Name;
use serde_json::json;

use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// List the peerings of a network
///
/// Examples:
///   plinth peering list shop
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
            return print_json(&json!(vpc.peerings()));
        }
        let titles = ["NAME", "ID", "PEER", "ADDRESSES"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        for (name, peering) in vpc.peerings() {
            rows.push(vec![
                name.to_string(),
                peering.id.to_string(),
                peering.peer_name.to_string(),
                peering.cidr.to_string(),
            ]);
        }
        print(&aligned(&rows))
    }
}
