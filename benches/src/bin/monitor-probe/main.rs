//! Boots a guest under a monitor three times and measures it. Runs inside the
//! deterministic machine, where nothing else runs and time is instructions.
//!
//! The first boot warms up and gives the memory of the idle monitor, the
//! second gives the times with next to no tracing, and the third is traced
//! for the counts. Its one argument is the plan; the answer is a line of JSON.

mod boot;
mod count;
mod memory;
mod tracing;

use std::io::Write;

use anyhow::{Context, Result};
use benches::sample::{Memory, Plan, Sample};

use crate::boot::Boot;
use crate::memory::GuestSlots;
use crate::tracing::Tracing;

fn main() -> Result<()> {
    let plan = std::env::args().nth(1).context("boot-probe needs a plan")?;
    let plan: Plan = serde_json::from_str(&plan).context("understanding the plan")?;
    let tracing = Tracing::open()?;
    let mut sample = Sample::default();

    eprintln!("boot 1: warming up, and the memory of the idle monitor");
    sample.memory = measure_memory(&plan, &tracing)?;
    eprintln!("boot 2: times");
    measure_times(&plan, &tracing, &mut sample)?;
    eprintln!("boot 3: counts");
    let trace = trace_boot(&plan, &tracing)?;
    count::count(&trace, &mut sample);

    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &sample)?;
    writeln!(out)?;
    if plan.raw_trace {
        out.write_all(trace.as_bytes())?;
    }
    Ok(())
}

fn measure_memory(plan: &Plan, tracing: &Tracing) -> Result<Memory> {
    let slots = GuestSlots::watch(tracing)?;
    let mut boot = Boot::start(&plan.idle)?;
    boot.wait_for_line(&plan.idle_line)?;
    boot.settle()?;
    let memory = slots.measure(boot.pid())?;
    boot.kill()?;
    Ok(memory)
}

fn measure_times(plan: &Plan, tracing: &Tracing, sample: &mut Sample) -> Result<()> {
    tracing.start(&["kvm:kvm_entry"])?;
    let mut boot = Boot::start(&plan.boot)?;
    let start = boot.started_at();
    sample.init_ns = boot.wait_for_line(&plan.first_line)?;
    sample.end_ns = boot.wait_for_end()?;
    let trace = tracing.stop()?;
    let entry = tracing::events(&trace).next();
    let entry = entry.context("the guest was never entered")?;
    sample.first_entry_ns = entry.time_ns - start;
    Ok(())
}

fn trace_boot(plan: &Plan, tracing: &Tracing) -> Result<String> {
    tracing.start(&["kvm:*", "syscalls:*"])?;
    let mut boot = Boot::start(&plan.boot)?;
    boot.wait_for_line(&plan.first_line)?;
    boot.wait_for_end()?;
    tracing.stop()
}
