//! Boots a guest up to three times: idle, for the memory of its monitor; then
//! with next to no tracing, for the times; and traced, for the counts.

use anyhow::{Context, Result};
use benches::probe::{BootPlan, Sample};

use crate::count;
use crate::memory::GuestSlots;
use crate::process::Boot;
use crate::tracing::{self, Tracing};

/// Measures; `raw` becomes the trace of what was counted, if that is wanted.
pub(crate) fn measure(plan: &BootPlan, raw: &mut String) -> Result<Sample> {
    let tracing = plan.traced.then(Tracing::open).transpose()?;
    let mut sample = Sample::default();
    if !plan.idle.is_empty() {
        eprintln!("warming up, and the memory of the idle monitor");
        idle(plan, tracing.as_ref(), &mut sample)?;
    }
    if !plan.boot.is_empty() {
        eprintln!("times");
        times(plan, tracing.as_ref(), &mut sample)?;
    }
    if let Some(tracing) = tracing.as_ref().filter(|_| plan.counted) {
        eprintln!("counts");
        let trace = trace(plan, tracing)?;
        count::count(&trace, &mut sample);
        if plan.raw_trace {
            *raw = trace;
        }
    }
    Ok(sample)
}

fn idle(plan: &BootPlan, tracing: Option<&Tracing>, sample: &mut Sample) -> Result<()> {
    let slots = tracing.map(GuestSlots::watch).transpose()?;
    let mut boot = Boot::start(&plan.idle)?;
    boot.wait_for_line(&plan.idle_line)?;
    boot.settle()?;
    if let Some(slots) = slots {
        sample.memory = slots.measure(boot.pid())?;
    }
    boot.kill()
}

fn times(plan: &BootPlan, tracing: Option<&Tracing>, sample: &mut Sample) -> Result<()> {
    if let Some(tracing) = tracing {
        tracing.start(&["kvm:kvm_entry"])?;
    }
    let mut boot = Boot::start(&plan.boot)?;
    let start = boot.started_at();
    sample.init_ns = boot.wait_for_line(&plan.first_line)?;
    sample.end_ns = boot.wait_for_end()?;
    if let Some(tracing) = tracing {
        let trace = tracing.stop()?;
        let entry = tracing::events(&trace).next();
        let entry = entry.context("the guest was never entered")?;
        sample.first_entry_ns = entry.time_ns - start;
    }
    Ok(())
}

fn trace(plan: &BootPlan, tracing: &Tracing) -> Result<String> {
    tracing.start(&["kvm:*", "syscalls:*"])?;
    let mut boot = Boot::start(&plan.boot)?;
    boot.wait_for_line(&plan.first_line)?;
    boot.wait_for_end()?;
    tracing.stop()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A monitor that says what a guest says.
    fn fake(says: &str) -> Vec<String> {
        ["sh", "-c", &format!("printf '{says}'")]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn a_boot_is_timed_without_tracing_too() {
        let plan = BootPlan {
            boot: fake("BIOS\\r\\nplinth-init: up\\r\\nmore\\r\\n"),
            first_line: "plinth-init: up".to_owned(),
            ..BootPlan::default()
        };
        let sample = measure(&plan, &mut String::new()).unwrap();
        assert!(0 < sample.init_ns && sample.init_ns <= sample.end_ns);
        assert_eq!(sample.exits.sum() + sample.first_entry_ns, 0);
    }

    #[test]
    fn a_monitor_that_ends_early_is_a_failure_that_shows_its_console() {
        let plan = BootPlan {
            boot: fake("no such kernel\\r\\n"),
            first_line: "plinth-init: up".to_owned(),
            ..BootPlan::default()
        };
        let error = measure(&plan, &mut String::new()).unwrap_err().to_string();
        assert!(error.contains("no such kernel"), "{error}");
    }
}
