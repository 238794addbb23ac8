//! `plinth switch list`: the switches that there are.

use clap::Args;
use serde_json::json;

use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;
use crate::switch::record::Kind;

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
        let switches = Switches::of_this_user()?;
        let mut documents = Vec::new();
        let mut rows = vec![vec!["NAME".into(), "KIND".into(), "PORTS".into()]];
        for name in switches.names()? {
            let Kind::Vpc(vpc) = match change::current(&switches, &name) {
                Ok(record) => record.kind,
                // One that is damaged does not hide the others.
                Err(error) => {
                    eprintln!("plinth: {}", error.report());
                    documents.push(json!({"name": name, "error": error.report()}));
                    rows.push(vec![name.to_string(), "damaged".into()]);
                    continue;
                }
            };
            let ports = vpc.ports().len();
            documents.push(json!({"name": name, "kind": "vpc", "ports": ports}));
            rows.push(vec![name.to_string(), "vpc".into(), ports.to_string()]);
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
