//! What the probe is asked to measure and what it answers, as JSON between
//! the host and the deterministic machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What to boot and what to look for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The command whose guest prints `first_line` and ends.
    pub boot: Vec<String>,
    /// The command whose guest prints `idle_line` and then sleeps.
    pub idle: Vec<String>,
    /// The first line of the guest's init.
    pub first_line: String,
    /// What the idle guest prints when it is idle.
    pub idle_line: String,
    /// Whether to give the raw trace of the counted boot after the answer.
    pub raw_trace: bool,
}

/// One boot, measured. Times are virtual nanoseconds from exec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// To the first entry into the guest.
    pub first_entry_ns: u64,
    /// To the first line of init on the console.
    pub init_ns: u64,
    /// To the end of the process, the guest having reset its machine.
    pub end_ns: u64,
    /// Exits from the guest, by the processor's reason.
    pub exits: Tally,
    /// Of these to user space, by reason and address.
    pub user_exits: Tally,
    /// System calls from exec to the end, by name.
    pub system_calls: Tally,
    /// System calls before the first entry into the guest, by name.
    pub start_calls: Tally,
    /// Memory of the idle guest's monitor.
    pub memory: Memory,
}

/// How often each of some things happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    /// Counts one more of `what`.
    pub fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// All together.
    pub fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    /// The things by how often they happened, most first.
    pub fn ranked(&self) -> Vec<(&str, u64)> {
        let mut ranked: Vec<_> = self.0.iter().map(|(what, n)| (what.as_str(), *n)).collect();
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        ranked
    }
}

/// Memory of a monitor's processes in KiB, from `/proc/PID/smaps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Proportional set size without guest memory.
    pub pss_kib: u64,
    /// Pages that nobody else maps, without guest memory.
    pub private_kib: u64,
    /// Proportional set size of guest memory: what KVM's memory slots name,
    /// which includes firmware, and files laid into guest memory.
    pub guest_kib: u64,
    /// Proportional set size without guest memory, by what is mapped.
    pub by_mapping: BTreeMap<String, u64>,
}
