//! `plinth volume list`: the volumes that there are.

use clap::Args;
use serde_json::Value;

use crate::exit::ExitStatus;
use crate::option::size::Amount;
use crate::volume::directory::Volumes;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::describe::{describe, state};

/// List volumes
///
/// USED is what a volume takes of this host's disk.
///
/// Examples:
///   plinth volume list
///   plinth volume list --output json | jq -r '.[] | select(.state == "available").name'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "ls")]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let volumes = Volumes::of_this_user()?.all()?;
        let documents = volumes.iter().map(|(name, volume)| describe(name, volume));
        if self.output.format == Format::Json {
            return print_json(&documents.collect());
        }
        if volumes.is_empty() {
            eprintln!("There are no volumes.");
            return Ok(ExitStatus::Success);
        }
        let titles = [
            "NAME", "ID", "SIZE", "USED", "TYPE", "IOPS", "MIB/S", "STATE",
        ];
        let mut rows = vec![titles.map(String::from).to_vec()];
        rows.extend(documents.map(|document| row(&document)));
        print(&aligned(&rows))
    }
}

fn row(document: &Value) -> Vec<String> {
    let cell = |field: &str| match &document[field] {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    let amount = |field: &str| match document[field].as_u64() {
        Some(bytes) => Amount(bytes).to_string(),
        None => "-".into(),
    };
    vec![
        cell("name"),
        cell("id"),
        amount("size_bytes"),
        amount("used_bytes"),
        cell("type"),
        cell("iops"),
        cell("throughput_mib"),
        state(document),
    ]
}
