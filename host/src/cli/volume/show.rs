//! `plinth volume show`: all there is to know about one volume.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;

use crate::option::duration::for_a_person;
use crate::option::size::Amount;
use crate::volume::directory::Volumes;
use crate::volume::selector::Selector;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::describe::{describe, state};

/// Show a volume: what it is, and which machine it is attached to
///
/// Examples:
///   plinth volume show data
///   plinth volume show data --output json | jq -r .serial
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The volume's name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn execute(self) -> Outcome {
        let volume = Volumes::of_this_user()?.find(&self.volume)?;
        let name = volume.name().clone();
        let document = describe(&name, &Ok(volume));
        match self.output.format {
            Format::Json => print_json(&document),
            Format::Table => print(&aligned(&rows(&document))),
        }
    }
}

fn rows(document: &Value) -> Vec<Vec<String>> {
    let text = |field: &str| document[field].as_str().map(String::from);
    let number = |field: &str| document[field].as_u64();
    let amount = |field: &str| number(field).map(|bytes| Amount(bytes).to_string());
    let speed = || {
        let (kind, iops) = (text("type")?, number("iops")?);
        let throughput = number("throughput_mib")?;
        Some(format!("{kind}, {iops} IOPS, {throughput} MiB/s"))
    };
    let rows = [
        ("name", text("name")),
        ("id", text("id")),
        ("state", Some(state(document))),
        ("reason", text("reason")),
        ("size", amount("size_bytes")),
        ("used", amount("used_bytes")),
        ("speed", speed()),
        ("made", number("created").and_then(age)),
        ("from", text("origin")),
        ("in", text("store")),
        ("copy of", text("copy_of")),
        ("encrypted", text("encryption")),
        ("directory", text("directory")),
    ];
    let rows = rows.into_iter();
    let mut rows: Vec<_> = rows
        .filter_map(|(title, value)| Some(vec![title.into(), value?]))
        .collect();
    for copy in document["copies"].as_array().into_iter().flatten() {
        let copy = copy.as_str().unwrap_or_default();
        rows.push(vec!["needed by".into(), copy.into()]);
    }
    for taken in document["snapshots"].as_array().into_iter().flatten() {
        let snapshot = taken["snapshot"].as_str().unwrap_or_default();
        rows.push(vec!["snapshot".into(), snapshot.into()]);
    }
    rows
}

/// How long ago `created` was, in seconds since 1970.
fn age(created: u64) -> Option<String> {
    let created = UNIX_EPOCH.checked_add(Duration::from_secs(created))?;
    let age = SystemTime::now().duration_since(created).ok()?;
    Some(format!("{} ago", for_a_person(age)))
}
