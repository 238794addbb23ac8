//! `plinth route list`: the routes of a network.

use std::fmt::Display;

use clap::Args;
use network::name::Name;
use network::route_table::Target;
use network::vpc::Vpc;
use serde_json::json;

use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::add::{INTERNET_GATEWAY, NAT, PEERING};

/// List the routes of a network, table by table
///
/// Examples:
///   plinth route list shop
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
        let record = change::current(&Switches::of_this_user()?, &self.vpc)?;
        let vpc = record.vpc(&self.vpc)?;
        if self.output.format == Format::Json {
            return print_json(&json!(vpc.route_tables()));
        }
        let titles = ["TABLE", "TO", "BY WAY OF"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        for (name, table) in vpc.route_tables() {
            rows.push(vec![name.to_string(), vpc.cidr.to_string(), "local".into()]);
            for (destination, target) in &table.routes {
                let target = target_name(vpc, *target);
                rows.push(vec![name.to_string(), destination.to_string(), target]);
            }
        }
        print(&aligned(&rows))
    }
}

fn target_name(vpc: &Vpc, target: Target) -> String {
    // EC2's word for a route whose target is gone.
    let gone = |id: &dyn Display| format!("blackhole ({id})");
    match target {
        Target::Port(id) => vpc
            .port(id)
            .map_or_else(|_| gone(&id), |port| port.address.to_string()),
        Target::InternetGateway(id) => match vpc.internet_gateway() {
            Ok(there) if there == id => INTERNET_GATEWAY.into(),
            _ => gone(&id),
        },
        Target::NatGateway(id) => vpc
            .nat_gateway(id)
            .map_or_else(|| gone(&id), |(name, _)| format!("{NAT}{name}")),
        Target::Peering(id) => vpc
            .peering(id)
            .map_or_else(|| gone(&id), |(name, _)| format!("{PEERING}{name}")),
        Target::Blackhole => "blackhole".into(),
    }
}
