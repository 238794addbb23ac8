//! `plinth snapshot list`: the snapshots that there are.

use clap::Args;
use indicatif::BinaryBytes;
use serde_json::Value;
use volume::id::VolumeId;

use crate::exit::ExitStatus;
use crate::printable::printable;
use crate::snapshot::catalog;
use crate::volume::root;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::describe::{age, describe};
use super::store_option::StoreOption;

/// List snapshots, the oldest first
///
/// SIZE is the volume's, DATA what of it is not zeroes, and STORED what was
/// added to the store: chunks that no earlier snapshot had, compressed.
///
/// Examples:
///   plinth snapshot list
///   plinth snapshot list --volume vol-0123456789abcdef0
///   plinth snapshot list --output json | jq -r '.[].id'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "ls")]
pub(super) struct List {
    /// Only those of this volume, which need not be there any more
    #[arg(long, value_name = "ID")]
    volume: Option<VolumeId>,

    #[command(flatten)]
    store: StoreOption,

    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let store = self.store.open(&root::locate()?)?;
        let mut listed = catalog::list(&*store)?;
        if let Some(volume) = self.volume {
            let is_its = |listed: &catalog::Listed| {
                let record = listed.record.as_ref();
                record.is_ok_and(|record| record.volume == volume)
            };
            listed.retain(is_its);
        }
        let documents = listed
            .iter()
            .map(|listed| describe(listed.id, &listed.record));
        if self.output.format == Format::Json {
            return print_json(&documents.collect());
        }
        if listed.is_empty() {
            eprintln!("There are no snapshots.");
            return Ok(ExitStatus::Success);
        }
        let titles = [
            "ID",
            "VOLUME",
            "SIZE",
            "DATA",
            "STORED",
            "AGE",
            "STATE",
            "DESCRIPTION",
        ];
        let mut rows = vec![titles.map(String::from).to_vec()];
        rows.extend(documents.map(|document| row(&document)));
        print(&aligned(&rows))
    }
}

fn row(document: &Value) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let text = |field: &str| or_dash(document[field].as_str().map(printable));
    let number = |field: &str| document[field].as_u64();
    let amount = |field: &str| or_dash(number(field).map(|bytes| BinaryBytes(bytes).to_string()));
    vec![
        text("id"),
        text("volume_name"),
        amount("size_bytes"),
        amount("data_bytes"),
        amount("stored_bytes"),
        or_dash(age(document)),
        text("state"),
        printable(document["description"].as_str().unwrap_or_default()),
    ]
}
