//! `plinth vm list`: the machines that there are.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};

use crate::client::Client;
use crate::client::request::Request;
use crate::exit::ExitStatus;
use crate::option::duration::for_a_person;
use crate::option::size::Amount;
use crate::printable::printable;
use crate::registry::Registry;
use crate::registry::machine::Machine;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};
use super::super::table::aligned;

/// How long each machine has to say what it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// List machines, also those that ended on their own
///
/// Examples:
///   plinth vm list
///   plinth vm list --output json | jq -r '.[].name'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, visible_alias = "ls")]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let machines = Registry::of_this_user()?.machines()?;
        if self.output.format == Format::Json {
            return print_json(&machines.iter().map(describe).collect());
        }
        if machines.is_empty() {
            eprintln!("There are no machines.");
            return Ok(ExitStatus::Success);
        }
        let titles = ["NAME", "STATE", "CPUS", "MEMORY", "PID", "AGE"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        rows.extend(machines.iter().map(row));
        print(&aligned(&rows))
    }
}

/// A machine as JSON: what is recorded of it, and what it says itself.
pub(super) fn describe(machine: &Machine) -> Value {
    let record = machine.record();
    let mut document = json!({
        "name": machine.name(),
        "state": "ended",
        "pid": record.pid,
        "started_ms": record.started_ms,
        "detached": record.detached,
        "socket": machine.socket(),
        "command": record.command,
        "disks": record.disks,
    });
    if !machine.is_alive() {
        document["end"] = match machine.end() {
            Some(end) => json!(end),
            None => json!({"message": machine.last_words()}),
        };
        return document;
    }
    document["state"] = "not-answering".into();
    let said = ask(machine, "/v1/vm").unwrap_or_default();
    // Nothing else: what is recorded is not for the process to say, which a
    // guest may have taken over. A pid is what somebody may kill.
    for field in ["state", "cpus", "max_cpus", "memory_bytes", "devices"] {
        if let Some(value) = said.get(field) {
            document[field] = value.clone();
        }
    }
    if let Some(devices) = said["devices"].as_array() {
        let there = |name: &String| devices.iter().any(|device| device["name"] == **name);
        let disks = record.disks.iter().filter(|(name, _)| there(name));
        document["disks"] = json!(disks.collect::<BTreeMap<_, _>>());
    }
    document
}

/// What a living machine answers at once, if it does.
pub(super) fn ask(machine: &Machine, path: &str) -> Option<Value> {
    let mut client = Client::connect(&machine.socket()).ok()?;
    let answer = client.ask(&Request::get(path), PATIENCE).ok()?;
    serde_json::from_slice(&answer).ok()
}

fn row(machine: &Machine) -> Vec<String> {
    let document = describe(machine);
    let number = |field: &str| document[field].as_u64();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    vec![
        machine.name().to_string(),
        state(machine, &document),
        or_dash(number("cpus").map(|cpus| cpus.to_string())),
        or_dash(number("memory_bytes").map(|bytes| Amount(bytes).to_string())),
        or_dash(
            number("pid")
                .filter(|_| machine.is_alive())
                .map(|pid| pid.to_string()),
        ),
        age(machine.record().started_ms),
    ]
}

/// The machine's state in a word, and how it ended.
pub(super) fn state(machine: &Machine, document: &Value) -> String {
    if !machine.is_alive() {
        return format!("ended: {}", machine.last_words());
    }
    printable(document["state"].as_str().unwrap_or("unknown"))
}

/// How long ago that was.
pub(super) fn age(started_ms: u64) -> String {
    let started = UNIX_EPOCH + Duration::from_millis(started_ms);
    match SystemTime::now().duration_since(started) {
        Ok(age) if started_ms > 0 => for_a_person(age),
        _ => "-".into(),
    }
}
