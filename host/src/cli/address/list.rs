//! `plinth address list`: who is known by which public address.

use clap::Args;
use network::name::Name;
use serde_json::json;

use crate::switch::change;
use crate::switch::directory::Switches;
use crate::switch::record::Kind;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// List public addresses, of one network or of all
///
/// Examples:
///   plinth address list
///   plinth address list shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "ls")]
pub(super) struct List {
    /// The network's name; all if not given
    #[arg(value_name = "VPC")]
    vpc: Option<Name>,

    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        let all = match self.vpc {
            Some(vpc) => {
                let record = change::current(&switches, &vpc)?;
                record.vpc(&vpc)?;
                vec![(vpc, Ok(record))]
            }
            None => change::all(&switches)?,
        };
        let titles = ["ADDRESS", "ID", "NETWORK", "OF"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        let mut documents = Vec::new();
        for (name, record) in all {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    eprintln!("plinth: {}", error.report());
                    continue;
                }
            };
            // A bridge has none.
            let Kind::Vpc(vpc) = &record.kind else {
                continue;
            };
            for (address, public) in vpc.public_addresses() {
                let holder = public.holder.as_ref().map(|holder| vpc.called(holder));
                documents.push(json!({
                    "address": address, "id": public.id, "network": name, "of": holder,
                }));
                rows.push(vec![
                    address.to_string(),
                    public.id.to_string(),
                    name.to_string(),
                    holder.unwrap_or_default(),
                ]);
            }
        }
        match self.output.format {
            Format::Json => print_json(&documents.into()),
            Format::Table => print(&aligned(&rows)),
        }
    }
}
