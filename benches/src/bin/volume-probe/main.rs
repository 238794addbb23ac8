//! Measures volumes. Runs inside the deterministic machine, where nothing else
//! runs and time is instructions of one processor.
//!
//! Its one argument is the plan; the answer is a line of JSON. Volumes and
//! snapshots are on ext4, on a disk in memory: files have holes and extents as
//! users have them, and no disk's own time is counted.

mod creation;
mod file_system;
mod guest;
mod pause;
mod plinth;
mod touch;

use std::io::Write;

use anyhow::{Context, Result};
use benches::volume::Plan;
use serde::Serialize;

fn main() -> Result<()> {
    let plan = std::env::args()
        .nth(1)
        .context("volume-probe needs a plan")?;
    let plan: Plan = serde_json::from_str(&plan).context("understanding the plan")?;
    file_system::mount()?;
    match plan {
        Plan::Pause(plan) => answer(&pause::measure(&plan)?),
        Plan::Touch(plan) => answer(&touch::measure(&plan)?),
        Plan::Creation(plan) => answer(&creation::measure(&plan)?),
    }
}

fn answer(sample: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, sample)?;
    writeln!(out)?;
    Ok(())
}
