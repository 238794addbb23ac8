//! Many guests at a time.

use serde::{Deserialize, Serialize};

/// Guests to be started, some more at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DensityPlan {
    /// The command of each, which prints `idle_line` and then sleeps.
    pub commands: Vec<Vec<String>>,
    /// What an idle guest prints.
    pub idle_line: String,
    /// After how many of them to measure, ascending; those that are missing are
    /// then started all at once.
    pub counts: Vec<u64>,
}

/// What came of a [`DensityPlan`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Of the guest that warmed up, from exec to its idle line.
    pub warm_up_ns: u64,
    /// For each count in turn.
    pub started: Vec<Started>,
    /// Why the next could not be measured.
    pub failure: Option<String>,
}

/// So many guests were started at once, until the last was idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// How many run now.
    pub count: u64,
    /// How many of them were started now.
    pub started: u64,
    /// From the first's exec to the last's idle line.
    pub time_ns: u64,
    /// What the host has less to give than before the first of all, in KiB
    /// (`MemAvailable`): guests, monitors, and the kernel's share. Below zero where
    /// others gave more up meanwhile.
    pub host_kib: i64,
    /// The proportional set size of all monitors with their guests, in KiB.
    pub pss_kib: u64,
}
