//! `plinth snapshot list`: the snapshots that there are.

use clap::Args;
use indicatif::BinaryBytes;
use serde_json::Value;
use volume::id::VolumeId;

use crate::exit::ExitStatus;
use crate::printable::printable;
use crate::snapshot::{catalog, under_way};
use crate::volume::directory::Volumes;
use crate::volume::root;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::describe::{age, describe, describe_under_way, state};
use super::store_option::StoreOption;

/// List snapshots, the oldest first, and then those that are not stored yet
///
/// SIZE is the volume's, DATA what of it is not zeroes, and STORED what was
/// added to the store: chunks that no earlier snapshot had, compressed. One that
/// is 'pending' is not stored yet, and one that 'failed' cannot be any more.
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
        let data = root::locate()?;
        let store = self.store.open(&data)?;
        let under_way = under_way::all(&Volumes::at(&data))?;
        let stored = catalog::list(&*store)?;
        // In between it is both.
        let is_stored = |id| stored.iter().any(|listed| listed.id == id);
        let under_way = under_way.iter().filter(|one| !is_stored(one.id()));
        let stored = stored.iter();
        let stored = stored.map(|listed| describe(listed.id, &listed.record));
        let mut documents: Vec<Value> = stored.chain(under_way.map(describe_under_way)).collect();
        if let Some(volume) = self.volume {
            let volume = volume.to_string();
            documents.retain(|document| document["volume"] == *volume);
        }
        if self.output.format == Format::Json {
            return print_json(&documents.into());
        }
        if documents.is_empty() {
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
        rows.extend(documents.iter().map(row));
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
        state(document),
        printable(document["description"].as_str().unwrap_or_default()),
    ]
}
