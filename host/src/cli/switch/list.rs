//! `plinth switch list`: the switches that there are.

use clap::Args;
use network::name::Name;
use serde_json::{Value, json};

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// List virtual switches
///
/// Examples:
///   plinth switch list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "ls")]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let mut documents = Vec::new();
        let mut rows = vec![vec!["NAME".into(), "KIND".into(), "PORTS".into()]];
        for (name, record) in change::all(&Switches::of_this_user()?)? {
            let kind = match record {
                Ok(record) => record.kind,
                Err(error) => {
                    let (document, row) = damaged(&name, &error);
                    documents.push(document);
                    rows.push(row);
                    continue;
                }
            };
            let ports = kind.ports().len();
            documents.push(json!({"name": name, "kind": kind.name(), "ports": ports}));
            rows.push(vec![
                name.to_string(),
                kind.name().into(),
                ports.to_string(),
            ]);
        }
        if self.output.format == Format::Json {
            return print_json(&documents.into());
        }
        if documents.is_empty() {
            eprintln!("There are no switches.");
            return Ok(ExitStatus::Success);
        }
        print(&aligned(&rows))
    }
}

/// Says why `name` is damaged, and gives its document and row in a list.
pub(in crate::cli) fn damaged(name: &Name, error: &Error) -> (Value, Vec<String>) {
    let report = error.report();
    eprintln!("plinth: {report}");
    let document = json!({"name": name, "error": report});
    (document, vec![name.to_string(), "damaged".into()])
}
