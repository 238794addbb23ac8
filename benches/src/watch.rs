//! Having the `monitor-probe` binary watch a monitor, and reading what it answers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outer::Finished;
use serde::de::DeserializeOwned;

use crate::probe::Plan;
use crate::testbed::{Run, Testbed};

/// The outer machine's memory in MiB, which the usual guests fit into.
const MEMORY_MIB: u32 = 2048;

/// What a guest may have of it.
const GUEST_MIB: u32 = 1024;

/// How much memory more the outer machine is to have for a guest with so much.
pub(crate) fn more_memory(guest_mib: u32) -> u32 {
    guest_mib.saturating_sub(GUEST_MIB)
}

/// A run of the probe, which watches `program` as `plan` says.
pub(crate) fn probing<'a>(testbed: &Testbed, program: &'a Path, plan: &Plan) -> Result<Run<'a>> {
    Ok(Run {
        programs: vec![program],
        memory_mib: MEMORY_MIB,
        command: vec![testbed.probe()?, serde_json::to_string(plan)?],
        // A busy host makes a boot of some seconds last a minute.
        stall_bound: Duration::from_secs(240),
        total_bound: Duration::from_secs(900),
        ..Run::default()
    })
}

/// What the probe said, which succeeded.
pub(crate) fn told(finished: &Finished) -> Result<String> {
    ensure!(
        finished.status.success(),
        "the probe failed ({}):\n{}",
        finished.status,
        String::from_utf8_lossy(&finished.output.stderr)
    );
    Ok(String::from_utf8_lossy(&finished.output.stdout).into_owned())
}

/// What the probe answered.
pub(crate) fn answer<T: DeserializeOwned>(finished: &Finished) -> Result<T> {
    understood(&told(finished)?)
}

/// What the probe answered in these words.
pub(crate) fn understood<T: DeserializeOwned>(answer: &str) -> Result<T> {
    serde_json::from_str(answer).context("understanding the probe's answer")
}
