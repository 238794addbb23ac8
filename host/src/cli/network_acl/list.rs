//! `plinth network-acl list`: the network ACLs of a network.

use clap::Args;
use network::name::Name;
use serde_json::json;

use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// List the network ACLs of a network, and the subnets that have them
///
/// Examples:
///   plinth network-acl list shop
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
            return print_json(&json!(vpc.network_acls()));
        }
        let titles = ["NAME", "ID", "INBOUND", "OUTBOUND", "SUBNETS"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        for (name, acl) in vpc.network_acls() {
            let subnets = vpc.subnets().iter();
            let theirs = subnets.filter(|(_, subnet)| subnet.network_acl == *name);
            let theirs: Vec<&str> = theirs.map(|(subnet, _)| subnet.as_str()).collect();
            rows.push(vec![
                name.to_string(),
                acl.id.to_string(),
                acl.inbound.len().to_string(),
                acl.outbound.len().to_string(),
                theirs.join(" "),
            ]);
        }
        print(&aligned(&rows))
    }
}
