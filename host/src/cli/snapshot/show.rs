//! `plinth snapshot show`: all there is to know about one snapshot.

use clap::Args;
use indicatif::BinaryBytes;
use serde_json::Value;
use volume::id::SnapshotId;

use crate::printable::printable;
use crate::snapshot::{object, under_way};
use crate::volume::directory::Volumes;
use crate::volume::root;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::describe::{age, describe_under_way, describe_whole, state};
use super::store_option::StoreOption;

/// Show a snapshot: of which volume it is, when it was taken, what it takes
///
/// Examples:
///   plinth snapshot show snap-0123456789abcdef0
///   plinth snapshot show snap-0123456789abcdef0 --output json | jq -r .parent
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The snapshot's id
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotId,

    #[command(flatten)]
    store: StoreOption,

    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn execute(self) -> Outcome {
        let data = root::locate()?;
        let store = self.store.open(&data)?;
        let under_way = under_way::all(&Volumes::at(&data))?;
        let under_way = under_way.iter().find(|one| one.id() == self.snapshot);
        let document = match (object::record(&*store, self.snapshot), under_way) {
            (Ok(record), _) => {
                let manifest = object::manifest(&*store, self.snapshot)?;
                describe_whole(record, manifest.header())
            }
            (Err(_), Some(under_way)) => describe_under_way(under_way),
            (Err(error), None) => return Err(error),
        };
        match self.output.format {
            Format::Json => print_json(&document),
            Format::Table => print(&aligned(&rows(&document))),
        }
    }
}

fn rows(document: &Value) -> Vec<Vec<String>> {
    let text = |field: &str| document[field].as_str().map(printable);
    let some_text = |field: &str| text(field).filter(|text| !text.is_empty());
    let number = |field: &str| document[field].as_u64();
    let amount = |field: &str| number(field).map(|bytes| BinaryBytes(bytes).to_string());
    let taken = age(document).map(|age| format!("{age} ago"));
    let volume = || Some(format!("{}, {}", text("volume_name")?, text("volume")?));
    let rows = [
        ("id", text("id")),
        ("state", Some(state(document))),
        ("reason", some_text("reason")),
        ("volume", volume()),
        ("size", amount("size_bytes")),
        ("data", amount("data_bytes")),
        ("stored", amount("stored_bytes")),
        ("taken", taken),
        ("parent", text("parent")),
        ("encrypted", text("encryption")),
        ("description", some_text("description")),
    ];
    let row = |(title, value): (&str, Option<String>)| Some(vec![title.into(), value?]);
    rows.into_iter().filter_map(row).collect()
}
