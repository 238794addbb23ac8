//! `plinth vpc show`: all there is to know about one network.

use clap::Args;
use network::name::Name;
use network::vpc::Vpc;
use serde_json::json;

use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// Show a virtual private network: its subnets, who is plugged into them, and its ways
/// out
///
/// Examples:
///   plinth vpc show shop
///   plinth vpc show shop --output json | jq '.ports[] | {owner, address}'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The network's name
    #[arg(value_name = "VPC")]
    vpc: Name,

    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn execute(self) -> Outcome {
        let record = change::current(&Switches::of_this_user()?, &self.vpc)?;
        let vpc = record.vpc(&self.vpc)?;
        if self.output.format == Format::Json {
            return print_json(&json!({
                "name": self.vpc,
                "id": vpc.id,
                "cidr": vpc.cidr,
                "subnets": vpc.subnets(),
                "route_tables": vpc.route_tables(),
                "security_groups": vpc.groups(),
                "network_acls": vpc.network_acls(),
                "ports": vpc.ports().values().collect::<Vec<_>>(),
                "internet_gateway": vpc.internet_gateway().ok(),
                "nat_gateways": vpc.nat_gateways(),
                "peerings": vpc.peerings(),
                "public_addresses": vpc.public_addresses(),
            }));
        }
        let mut own = vec![
            vec!["name".into(), self.vpc.to_string()],
            vec!["id".into(), vpc.id.to_string()],
            vec!["addresses".into(), vpc.cidr.to_string()],
        ];
        if let Ok(gateway) = vpc.internet_gateway() {
            own.push(vec!["internet gateway".into(), gateway.to_string()]);
        }
        let mut parts = vec![aligned(&own), subnets(vpc), ports(vpc)];
        let others = [public_addresses(vpc), published(vpc)];
        parts.extend(others.into_iter().flatten());
        print(&parts.join("\n"))
    }
}

/// Those that the network has, if any.
fn public_addresses(vpc: &Vpc) -> Option<String> {
    let mut rows = vec![vec!["PUBLIC ADDRESS".into(), "OF".into()]];
    for (address, public) in vpc.public_addresses() {
        let holder = public.holder.as_ref().map(|holder| vpc.called(holder));
        rows.push(vec![address.to_string(), holder.unwrap_or_default()]);
    }
    (rows.len() > 1).then(|| aligned(&rows))
}

/// The host's ports that lead to guests, if any.
fn published(vpc: &Vpc) -> Option<String> {
    let titles = ["PUBLISHED", "MACHINE", "ADDRESS"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    for (port, published) in vpc.published() {
        rows.push(vec![
            published.publication.to_string(),
            port.owner.clone(),
            port.address.to_string(),
        ]);
    }
    (rows.len() > 1).then(|| aligned(&rows))
}

fn subnets(vpc: &Vpc) -> String {
    let titles = ["SUBNET", "ADDRESSES", "FREE", "ROUTES", "NETWORK ACL"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    for (name, subnet) in vpc.subnets() {
        let taken = vpc.ports().values().filter(|port| port.subnet == *name);
        let gateways = vpc.nat_gateways().values();
        let theirs = gateways.filter(|gateway| gateway.subnet == *name);
        let free = subnet.capacity() - (taken.count() + theirs.count()) as u64;
        rows.push(vec![
            name.to_string(),
            subnet.cidr.to_string(),
            free.to_string(),
            subnet.route_table.to_string(),
            subnet.network_acl.to_string(),
        ]);
    }
    aligned(&rows)
}

fn ports(vpc: &Vpc) -> String {
    let titles = [
        "PORT",
        "MACHINE",
        "SUBNET",
        "ADDRESS",
        "MAC",
        "SECURITY GROUPS",
    ];
    let mut rows = vec![titles.map(String::from).to_vec()];
    for port in vpc.ports().values() {
        let groups: Vec<&str> = port.groups.iter().map(|name| name.as_str()).collect();
        rows.push(vec![
            port.id.to_string(),
            port.owner.clone(),
            port.subnet.to_string(),
            port.address.to_string(),
            port.mac.to_string(),
            groups.join(" "),
        ]);
    }
    aligned(&rows)
}
