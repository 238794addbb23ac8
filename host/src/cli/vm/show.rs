//! `plinth vm show`: all there is to know about one machine.

use clap::Args;
use serde_json::{Value, json};

use crate::option::size::Amount;
use crate::printable::printable;
use crate::registry::Registry;
use crate::registry::machine::Machine;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;
use super::list::{age, ask, describe, state};

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
        let registry = Registry::of_this_user()?;
        let machine = registry.find(&self.name)?;
        let mut document = describe(&machine);
        if machine.is_alive() {
            document["memory"] = json!(ask(&machine, "/v1/memory"));
        }
        if let Some(devices) = document["devices"].as_array() {
            let is_there = |name: &str| devices.iter().any(|device| device["name"] == name);
            // Who looks need not hear that it cannot be written down: what is
            // shown is right.
            let _ = registry.forget_departed(&machine, is_there);
        }
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
        let memory = memory(&document["memory"]);
        let memory = memory.or_else(|| amount(&document["memory_bytes"]));
        rows.extend(memory.map(|memory| vec!["memory".into(), memory]));
        let balloon = balloon(&document["memory"]["balloon"]);
        rows.extend(balloon.map(|balloon| vec!["balloon".into(), balloon]));
        let socket = machine.socket().display().to_string();
        rows.push(vec!["socket".into(), socket]);
    }
    let devices = document["devices"].as_array();
    for device in devices.into_iter().flatten() {
        rows.push(vec!["device".into(), described(machine, device)]);
    }
    rows
}

/// Bytes for a person, if it is a number of them.
fn amount(bytes: &Value) -> Option<String> {
    Some(Amount(bytes.as_u64()?).to_string())
}

/// How much memory the guest has, and what that takes of the host.
fn memory(memory: &Value) -> Option<String> {
    let amount = |field: &str| amount(&memory[field]);
    let mut line = amount("plugged_bytes")?;
    if memory["most_bytes"].as_u64() > memory["boot_bytes"].as_u64() {
        let (asked, most) = (amount("requested_bytes")?, amount("most_bytes")?);
        line += &format!(" of {asked} asked for, {most} at most");
    }
    Some(format!("{line} ({} resident)", amount("resident_bytes")?))
}

/// What its balloon holds.
fn balloon(balloon: &Value) -> Option<String> {
    let (actual, target) = (&balloon["actual_bytes"], &balloon["target_bytes"]);
    Some(format!(
        "{} of {} asked for",
        amount(actual)?,
        amount(target)?
    ))
}

/// A device by its name and kind, and what else is known of it.
fn described(machine: &Machine, device: &Value) -> String {
    let text = |field: &str| printable(device[field].as_str().unwrap_or("?"));
    let name = text("name");
    let mut line = format!("{name} ({})", text("kind"));
    if let Some(path) = machine.record().disks.get(&name) {
        line += &format!(" {}", path.display());
    }
    let mut more: Vec<String> = amount(&device["capacity_bytes"]).into_iter().collect();
    if device["read_only"] == true {
        more.push("read-only".into());
    }
    if device["on_error"] == "wait" {
        let waits = device["waits"].as_str();
        more.push(waits.map_or("waits on errors".into(), |why| {
            format!("waits for the host: {}", printable(why))
        }));
    }
    // One goes without saying.
    let queues = device["queues"].as_u64().filter(|queues| *queues > 1);
    more.extend(queues.map(|queues| format!("{queues} queues")));
    more.extend(limits(&device["limits"], "operations"));
    for direction in ["receive", "transmit"] {
        let limits = limits(&device[direction], "packets");
        more.extend(limits.map(|limits| format!("{direction} {limits}")));
    }
    for property in more {
        line += &format!(", {property}");
    }
    line
}

/// Limits for a person, if there are any. Bursts are for programs.
fn limits(limits: &Value, operations: &str) -> Option<String> {
    let rate = limits["operations_per_second"].as_u64();
    let rate = rate.map(|rate| format!("{rate} {operations}/s"));
    let bytes = amount(&limits["bytes_per_second"]).map(|bytes| format!("{bytes}/s"));
    let both: Vec<String> = rate.into_iter().chain(bytes).collect();
    (!both.is_empty()).then(|| format!("at most {}", both.join(" and ")))
}
