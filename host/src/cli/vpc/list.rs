//! `plinth vpc list`: the networks that there are.

use clap::Args;
use serde_json::json;

use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;
use crate::switch::record::Kind;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::switch::list::damaged;
use super::super::table::aligned;

/// List virtual private networks
///
/// Examples:
///   plinth vpc list
///   plinth vpc list --output json | jq -r '.[].cidr'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "ls")]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let mut documents = Vec::new();
        let titles = ["NAME", "ID", "ADDRESSES", "SUBNETS", "PORTS"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        for (name, record) in change::all(&Switches::of_this_user()?)? {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let (document, row) = damaged(&name, &error);
                    documents.push(document);
                    rows.push(row);
                    continue;
                }
            };
            let Kind::Vpc(vpc) = &record.kind else {
                continue;
            };
            let (subnets, ports) = (vpc.subnets().len(), vpc.ports().len());
            documents.push(json!({
                "name": name, "id": vpc.id, "cidr": vpc.cidr, "subnets": subnets, "ports": ports,
            }));
            rows.push(vec![
                name.to_string(),
                vpc.id.to_string(),
                vpc.cidr.to_string(),
                subnets.to_string(),
                ports.to_string(),
            ]);
        }
        if self.output.format == Format::Json {
            return print_json(&documents.into());
        }
        if documents.is_empty() {
            eprintln!("There are no networks.");
            return Ok(ExitStatus::Success);
        }
        print(&aligned(&rows))
    }
}
