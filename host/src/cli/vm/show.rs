//! `plinth vm show`: all there is to know about one machine.

use clap::Args;
use serde_json::{Value, json};

use crate::option::size::Amount;
use crate::printable::printable;
use crate::registry::Registry;
use crate::registry::machine::Machine;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::list::{age, describe, state};
use super::output::{Format, Output, print, print_json};
use super::table::aligned;

/// How many of its log's last lines are shown of a machine that has ended.
const LAST_LINES: usize = 10;

/// Show a machine: its state, its devices, and how it ended if it has
///
/// Examples:
///   plinth vm show web
///   curl --unix-socket $(plinth vm show web --output json | jq -r .socket) http://vm/v1/vm
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,

    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn execute(self) -> Outcome {
        let machine = Registry::of_this_user().find(&self.name)?;
        let mut document = describe(&machine);
        let log = machine.log_tail(LAST_LINES);
        if self.output.format == Format::Json {
            if !machine.is_alive() {
                document["log"] = json!(log);
            }
            return print_json(&document);
        }
        let mut text = aligned(&rows(&machine, &document));
        if !machine.is_alive() && !log.is_empty() {
            text += "last lines of its log:\n";
            text.extend(log.iter().map(|line| format!("  {line}\n")));
        }
        print(&text)
    }
}

fn rows(machine: &Machine, document: &Value) -> Vec<Vec<String>> {
    let number = |field: &str| document[field].as_u64();
    let mut rows = vec![
        vec!["name".into(), machine.name().to_string()],
        vec!["state".into(), state(machine, document)],
        vec![
            "started".into(),
            format!("{} ago", age(machine.record().started_ms)),
        ],
    ];
    if machine.is_alive() {
        rows.extend(number("pid").map(|pid| vec!["process".into(), pid.to_string()]));
        rows.extend(number("cpus").map(|cpus| vec!["cpus".into(), cpus.to_string()]));
        let memory = number("memory_bytes").map(|bytes| Amount(bytes).to_string());
        rows.extend(memory.map(|memory| vec!["memory".into(), memory]));
        let socket = machine.socket().display().to_string();
        rows.push(vec!["socket".into(), socket]);
    }
    let devices = document["devices"].as_array();
    for device in devices.into_iter().flatten() {
        rows.push(vec!["device".into(), described(machine, device)]);
    }
    rows
}

/// A device by its name, kind and whatever else it says in plain values.
fn described(machine: &Machine, device: &Value) -> String {
    let text = |field: &str| printable(device[field].as_str().unwrap_or("?"));
    let name = text("name");
    let mut line = format!("{name} ({})", text("kind"));
    if let Some(path) = machine.record().disks.get(&name) {
        line += &format!(" {}", path.display());
    }
    line
}
