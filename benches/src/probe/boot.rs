//! One boot of a guest, and a monitor's memory while its guest idles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What to boot and what to look for. Each of the boots is there or not; the first
/// of them also warms up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BootPlan {
    /// A command whose guest prints `idle_line` and then sleeps: its monitor's
    /// memory is measured. Empty for none.
    pub idle: Vec<String>,
    /// What the idle guest prints when it is idle.
    pub idle_line: String,
    /// A command whose guest prints `first_line` and ends: times are measured.
    /// Empty for none.
    pub boot: Vec<String>,
    /// The first line of the guest's init.
    pub first_line: String,
    /// What a guest prints that ends well; any other end is a failure.
    pub last_line: String,
    /// Whether to boot it once more, and count what it does.
    pub counted: bool,
    /// Where the kernel's tracing is, by which the first entry into a guest and
    /// guests' memory are known. Without it neither is measured.
    pub tracing: Option<String>,
    /// Whether nothing is traced while times are measured: by a host's clock that
    /// takes time. The first entry is then the idle guest's.
    pub undisturbed: bool,
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
