//! `plinth nat-gateway list`: the NAT gateways of a network.

use clap::Args;
use network::name::Name;
use network::public_address::Holder;
use serde_json::json;

use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// List the NAT gateways of a network
///
/// Examples:
///   plinth nat-gateway list shop
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
        let titles = ["NAME", "ID", "SUBNET", "ADDRESS", "PUBLIC ADDRESS"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        let mut documents = Vec::new();
        for (name, gateway) in vpc.nat_gateways() {
            let public = vpc.public_address_of(&Holder::NatGateway(name.clone()));
            documents.push(json!({
                "name": name,
                "id": gateway.id,
                "subnet": gateway.subnet,
                "address": gateway.address,
                "public_address": public,
            }));
            rows.push(vec![
                name.to_string(),
                gateway.id.to_string(),
                gateway.subnet.to_string(),
                gateway.address.to_string(),
                public.map(|public| public.to_string()).unwrap_or_default(),
            ]);
        }
        match self.output.format {
            Format::Json => print_json(&documents.into()),
            Format::Table => print(&aligned(&rows)),
        }
    }
}
