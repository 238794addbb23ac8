//! Watches monitors from beside them: how they boot a guest, how many guests start
//! and what they take, how soon they answer. Runs inside the deterministic
//! machine, where nothing else runs and time is instructions, or on a host with
//! KVM of its own.
//!
//! Its one argument is the plan; the answer is a line of JSON.

mod boot;
mod client;
mod control;
mod count;
mod density;
mod memory;
mod process;
mod tap;
mod tracing;

use std::io::{self, Write};

use anyhow::{Context, Result};
use benches::probe::Plan;

fn main() -> Result<()> {
    let plan = std::env::args().nth(1);
    let plan = plan.context("monitor-probe needs a plan")?;
    let plan: Plan = serde_json::from_str(&plan).context("understanding the plan")?;
    let mut trace = String::new();
    let answer = match plan {
        Plan::Boot(plan) => serde_json::to_vec(&boot::measure(&plan, &mut trace)?)?,
        Plan::Density(plan) => serde_json::to_vec(&density::measure(&plan)?)?,
        Plan::Control(plan) => serde_json::to_vec(&control::measure(&plan)?)?,
    };
    let mut out = io::stdout().lock();
    out.write_all(&answer)?;
    writeln!(out)?;
    out.write_all(trace.as_bytes())?;
    Ok(())
}
