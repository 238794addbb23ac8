//! `plinth snapshot verify`: are all blocks there, and undamaged?

use std::sync::Arc;

use clap::Args;
use indicatif::BinaryBytes;
use serde_json::{Value, json};
use volume::BLOCK;
use volume::id::SnapshotId;

use crate::error::{Error, ErrorKind};
use crate::exit::ExitStatus;
use crate::progress::Progress;
use crate::snapshot::catalog;
use crate::snapshot::store::Store;
use crate::snapshot::verify::{Fault, Finding, Report, verify};
use crate::volume::root;

use super::super::Outcome;
use super::super::output::{Format, Output, print_json, print_on};
use super::super::table::aligned;
use super::store_option::StoreOption;

/// Read all blocks of snapshots, and check them
///
/// Every chunk is compared with the SHA-256 that it is named by. What is missing
/// or damaged is listed, and the exit status is 3 then. A chunk that is damaged
/// can be put back from a copy of the store, which any file with its name is.
///
/// Examples:
///   plinth snapshot verify snap-0123456789abcdef0
///   plinth snapshot verify --output json | jq '.[] | select(.findings != [])'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Verify {
    /// The snapshots' ids; all if none is named
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<SnapshotId>,

    #[command(flatten)]
    store: StoreOption,

    #[command(flatten)]
    output: Output,
}

impl Verify {
    pub(super) fn execute(self) -> Outcome {
        let store = self.store.open(&root::locate()?)?;
        let snapshots = match self.snapshots.is_empty() {
            true => catalog::ids(&*store)?,
            false => self.snapshots,
        };
        let mut damaged = 0;
        let mut documents = Vec::new();
        for id in snapshots {
            let checked = match check(&store, id) {
                // There is no such snapshot.
                Err(error) if error.kind() == ErrorKind::Configuration => return Err(error),
                checked => checked,
            };
            let findings = checked.as_ref().map(|report| report.findings.as_slice());
            // One that cannot be read at all is as bad.
            if !matches!(findings, Ok([])) {
                damaged += 1;
            }
            match self.output.format {
                Format::Json => documents.push(describe(id, &checked)),
                Format::Table => tell(id, &checked)?,
            }
        }
        if self.output.format == Format::Json {
            print_json(&documents.into())?;
        }
        match damaged {
            0 => Ok(ExitStatus::Success),
            _ => Err(Error::host(match damaged {
                1 => "a snapshot is damaged".into(),
                _ => format!("{damaged} snapshots are damaged"),
            })
            .remedy("their missing objects from a copy of the store, or deleting them")),
        }
    }
}

fn check(store: &Arc<dyn Store>, id: SnapshotId) -> Result<Report, Error> {
    let mut progress = None;
    verify(Arc::clone(store), id, &mut |report| {
        let bar = progress.get_or_insert_with(|| Progress::new("checked", report.blocks * BLOCK));
        bar.reach(report.checked * BLOCK);
    })
}

fn tell(id: SnapshotId, checked: &Result<Report, Error>) -> Result<(), Error> {
    let report = match checked {
        Err(error) => return print_on(&format!("{id}: {}\n", error.report())).map(drop),
        Ok(report) => report,
    };
    let amount = BinaryBytes(report.checked * BLOCK);
    let text = match report.findings.as_slice() {
        [] => format!("{id}: whole, {} blocks, {amount}\n", report.checked),
        findings => {
            let lost = findings.len();
            let mut rows = vec![["BLOCK", "CHUNK", "FAULT"].map(String::from).to_vec()];
            rows.extend(findings.iter().map(row));
            let table = aligned(&rows);
            format!(
                "{id}: {lost} of {} blocks cannot be had\n{table}",
                report.blocks
            )
        }
    };
    print_on(&text).map(drop)
}

fn row(finding: &Finding) -> Vec<String> {
    let (index, digest) = (finding.index.to_string(), finding.digest.to_string());
    vec![index, digest, word(&finding.fault)]
}

fn word(fault: &Fault) -> String {
    match fault {
        Fault::Missing => "missing".into(),
        Fault::Damaged(why) => format!("damaged: {why}"),
    }
}

fn describe(id: SnapshotId, checked: &Result<Report, Error>) -> Value {
    match checked {
        Err(error) => json!({"id": id.to_string(), "reason": error.report()}),
        Ok(report) => {
            let finding = |finding: &Finding| {
                json!({
                    "block": finding.index,
                    "chunk": finding.digest.to_string(),
                    "fault": word(&finding.fault),
                })
            };
            json!({
                "id": id.to_string(),
                "blocks": report.blocks,
                "findings": report.findings.iter().map(finding).collect::<Value>(),
            })
        }
    }
}
