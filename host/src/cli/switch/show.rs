//! `plinth switch show`: all there is to know about one bridge.

use clap::Args;
use network::bridge::Bridge;
use network::name::Name;
use serde_json::json;

use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// Show a bridge, and who is plugged into it
///
/// Examples:
///   plinth switch show lan
///   plinth switch show lan --output json | jq '.ports[] | {owner, mac}'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The bridge's name
    #[arg(value_name = "SWITCH")]
    switch: Name,

    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn execute(self) -> Outcome {
        let record = change::current(&Switches::of_this_user()?, &self.switch)?;
        let bridge = record.bridge(&self.switch)?;
        let uplink = bridge.uplink.as_ref().map(ToString::to_string);
        if self.output.format == Format::Json {
            return print_json(&json!({
                "name": self.switch,
                "kind": record.kind.name(),
                "id": bridge.id,
                "mtu": bridge.mtu,
                "uplink": uplink,
                "ports": bridge.ports().values().collect::<Vec<_>>(),
            }));
        }
        let own = vec![
            vec!["name".into(), self.switch.to_string()],
            vec!["kind".into(), record.kind.name().into()],
            vec!["id".into(), bridge.id.to_string()],
            vec!["mtu".into(), bridge.mtu.to_string()],
            vec!["uplink".into(), uplink.unwrap_or_else(|| "none".into())],
        ];
        print(&[aligned(&own), ports(bridge)].join("\n"))
    }
}

fn ports(bridge: &Bridge) -> String {
    let titles = ["PORT", "MACHINE", "MAC", "PRIVATE VLAN", "GUARD"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    for port in bridge.ports().values() {
        let guard = if port.guard { "on" } else { "off" };
        rows.push(vec![
            port.id.to_string(),
            port.owner.clone(),
            port.mac.to_string(),
            port.private_vlan.to_string(),
            guard.into(),
        ]);
    }
    aligned(&rows)
}
