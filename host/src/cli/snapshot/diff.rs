//! `plinth snapshot diff`: what differs between two snapshots.

use clap::Args;
use serde_json::{Value, json};
use volume::BLOCK;
use volume::id::SnapshotId;

use crate::exit::ExitStatus;
use crate::option::size::Amount;
use crate::snapshot::diff::{Change, Range, diff};
use crate::volume::root;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::store_option::StoreOption;

/// Compare two snapshots, in blocks of 512 KiB
///
/// They may be of different volumes. A block is 'changed' if both have data
/// there, 'added' if the first has zeroes and 'zeroed' if the second has.
///
/// Examples:
///   plinth snapshot diff snap-0123456789abcdef0 snap-0123456789abcdef1
///   plinth snapshot diff snap-… snap-… --output json | jq '[.[].length_bytes] | add'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Diff {
    /// The first snapshot's id
    #[arg(value_name = "FIRST")]
    first: SnapshotId,

    /// The second snapshot's id
    #[arg(value_name = "SECOND")]
    second: SnapshotId,

    #[command(flatten)]
    store: StoreOption,

    #[command(flatten)]
    output: Output,
}

impl Diff {
    pub(super) fn execute(self) -> Outcome {
        let store = self.store.open(&root::locate()?)?;
        let ranges = diff(&*store, self.first, self.second)?;
        if self.output.format == Format::Json {
            return print_json(&ranges.iter().map(describe).collect());
        }
        if ranges.is_empty() {
            eprintln!("They do not differ.");
            return Ok(ExitStatus::Success);
        }
        let titles = ["OFFSET", "LENGTH", "BLOCKS", "CHANGE"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        rows.extend(ranges.iter().map(row));
        print(&aligned(&rows))
    }
}

fn describe(range: &Range) -> Value {
    json!({
        "block": range.first,
        "blocks": range.count,
        "offset_bytes": u64::from(range.first) * BLOCK,
        "length_bytes": u64::from(range.count) * BLOCK,
        "change": word(range.change),
    })
}

fn row(range: &Range) -> Vec<String> {
    let last = range.first + range.count - 1;
    let blocks = match range.count {
        1 => range.first.to_string(),
        _ => format!("{}-{last}", range.first),
    };
    vec![
        Amount(u64::from(range.first) * BLOCK).to_string(),
        Amount(u64::from(range.count) * BLOCK).to_string(),
        blocks,
        word(range.change).into(),
    ]
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Changed => "changed",
        Change::Added => "added",
        Change::Zeroed => "zeroed",
    }
}
