//! `plinth snapshot show`: all there is to know about one snapshot.

use clap::Args;
use indicatif::BinaryBytes;
use serde_json::Value;
use volume::id::SnapshotId;

use crate::printable::printable;
use crate::snapshot::object;
use crate::volume::root;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::describe::{age, describe_whole};
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
        let store = self.store.open(&root::locate()?)?;
        let record = object::record(&*store, self.snapshot)?;
        let manifest = object::manifest(&*store, self.snapshot)?;
        let document = describe_whole(record, manifest.header());
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
    let encrypted = document["encrypted"] == true;
    let rows = [
        ("id", text("id")),
        ("state", text("state")),
        ("volume", volume()),
        ("size", amount("size_bytes")),
        ("data", amount("data_bytes")),
        ("stored", amount("stored_bytes")),
        ("taken", taken),
        ("parent", text("parent")),
        ("encrypted", encrypted.then(|| "yes".into())),
        ("description", some_text("description")),
    ];
    let row = |(title, value): (&str, Option<String>)| Some(vec![title.into(), value?]);
    rows.into_iter().filter_map(row).collect()
}
