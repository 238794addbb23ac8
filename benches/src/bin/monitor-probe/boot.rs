//! Boots a guest up to three times: idle, for the memory of its monitor; then
//! with next to no tracing, for the times; and traced, for the counts.

use std::path::Path;

use anyhow::{Context, Result};
use benches::probe::{BootPlan, Sample};

use crate::process::Boot;
use crate::tracing::{self, Tracing};
use crate::{count, memory};

/// What the guest is entered by.
const ENTRY: &str = "kvm:kvm_entry";

/// Room for a trace, in KiB for each CPU: of all that a boot does, or of its entries.
const ALL_KIB: u32 = 65536;
const ENTRIES_KIB: u32 = 4096;

/// Measures; `raw` becomes the trace of what was counted, if that is wanted.
pub(crate) fn measure(plan: &BootPlan, raw: &mut String) -> Result<Sample> {
    let room = if plan.counted { ALL_KIB } else { ENTRIES_KIB };
    let open = |all: &String| Tracing::open(Path::new(all), room);
    let mut tracing = plan.tracing.as_ref().map(open).transpose()?;
    let mut sample = Sample::default();
    if !plan.idle.is_empty() {
        eprintln!("warming up, and the memory of the idle monitor");
        idle(plan, tracing.as_mut(), &mut sample)?;
    }
    if !plan.boot.is_empty() {
        eprintln!("times");
        let traced = tracing.as_ref().filter(|_| !plan.undisturbed);
        times(plan, traced, &mut sample)?;
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

fn idle(plan: &BootPlan, mut tracing: Option<&mut Tracing>, sample: &mut Sample) -> Result<()> {
    if let Some(tracing) = &mut tracing {
        memory::define(tracing)?;
        tracing.start(&[memory::SLOT, ENTRY])?;
    }
    let mut boot = Boot::start(&plan.idle)?;
    boot.wait_for_line(&plan.idle_line)?;
    boot.settle()?;
    if let Some(tracing) = tracing {
        let trace = tracing.stop()?;
        sample.memory = memory::measure(&trace, boot.pid())?;
        if plan.undisturbed {
            sample.first_entry_ns = first_entry(&trace, boot.started_at())?;
        }
    }
    Ok(())
}

fn times(plan: &BootPlan, tracing: Option<&Tracing>, sample: &mut Sample) -> Result<()> {
    if let Some(tracing) = tracing {
        tracing.start(&[ENTRY])?;
    }
    let mut boot = Boot::start(&plan.boot)?;
    let start = boot.started_at();
    sample.init_ns = boot.wait_for_line(&plan.first_line)?;
    sample.end_ns = boot.wait_for_end(&plan.last_line)?;
    if let Some(tracing) = tracing {
        sample.first_entry_ns = first_entry(&tracing.stop()?, start)?;
    }
    Ok(())
}

/// From `start`, in nanoseconds.
fn first_entry(trace: &str, start: u64) -> Result<u64> {
    let mut entries = tracing::events(trace).filter(|event| event.name == "kvm_entry");
    let entry = entries.next().context("the guest was never entered")?;
    Ok(entry.time_ns.saturating_sub(start))
}

fn trace(plan: &BootPlan, tracing: &Tracing) -> Result<String> {
    tracing.start(&["kvm:*", "syscalls:*"])?;
    let mut boot = Boot::start(&plan.boot)?;
    boot.wait_for_line(&plan.first_line)?;
    boot.wait_for_end(&plan.last_line)?;
    tracing.stop()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    /// A monitor that says what a guest says.
    fn fake(says: &str) -> Vec<String> {
        ["sh", "-c", &format!("printf '{says}'")]
            .map(str::to_owned)
            .into()
    }

    fn plan(says: &str) -> BootPlan {
        BootPlan {
            boot: fake(says),
            first_line: "plinth-init: up".to_owned(),
            last_line: "plinth-init: exit 0".to_owned(),
            ..BootPlan::default()
        }
    }

    fn failure(plan: &BootPlan) -> String {
        let error = measure(plan, &mut String::new()).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn a_boot_is_timed_without_tracing_too() {
        let plan = plan("BIOS\\r\\nplinth-init: up\\r\\nmore\\r\\nplinth-init: exit 0\\r\\n");
        let sample = measure(&plan, &mut String::new()).unwrap();
        assert!(0 < sample.init_ns && sample.init_ns <= sample.end_ns);
        assert_eq!(sample.exits.sum() + sample.first_entry_ns, 0);
    }

    #[test]
    fn a_monitor_that_ends_early_is_a_failure_that_shows_its_console() {
        let error = failure(&plan("no such kernel\\r\\n"));
        assert!(error.contains("no such kernel"), "{error}");
    }

    #[test]
    fn a_guest_that_crashes_or_lacks_something_has_not_booted() {
        for end in ["Kernel panic", "plinth-init: exit 1"] {
            let error = failure(&plan(&format!("plinth-init: up\\r\\n{end}\\r\\n")));
            assert!(error.contains("without its guest's"), "{error}");
            assert!(error.contains(end), "{error}");
        }
    }

    /// A monitor that does what the kernel does where one is traced: there is a memory
    /// slot, which is its stack, and the guest is entered.
    fn traced(tracing: &Path) -> Vec<String> {
        let script = format!(
            "cd {}/instances/plinth-bench || exit; \
             cp set_event ../../seen; cat ../../kprobe_events >> ../../seen; \
             range=$(sed -n '/stack/s/ .*//p' /proc/$$/maps); \
             from=$((0x${{range%-*}})); size=$((0x${{range#*-}} - from)); \
             at=99999999.00000; \
             echo \"sh-$$ [001] ${{at}}1: slot: (f) slot=0 size=$size address=$from\" > trace; \
             echo \"sh-$$ [000] ${{at}}2: kvm_entry: vcpu 0\" >> trace; \
             printf 'idle\\r\\n'; read x < ../../never",
            tracing.display()
        );
        ["sh", "-c", &script].map(str::to_owned).into()
    }

    /// What the kernel's tracing looks like, with a lost event or without.
    fn kernel(lost: u32) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let instance = directory.path().join("instances/plinth-bench");
        for cpu in ["per_cpu/cpu0", "per_cpu/cpu1"] {
            fs::create_dir_all(instance.join(cpu)).unwrap();
            let stats = format!("overrun: 0\ndropped events: {lost}\n");
            fs::write(instance.join(cpu).join("stats"), stats).unwrap();
        }
        fs::create_dir(instance.join("options")).unwrap();
        fs::write(directory.path().join("kprobe_events"), "").unwrap();
        mkfifoat(CWD, directory.path().join("never"), Mode::RUSR).unwrap();
        directory
    }

    fn of_the_idle(tracing: &Path) -> BootPlan {
        BootPlan {
            idle: traced(tracing),
            idle_line: "idle".to_owned(),
            tracing: Some(tracing.to_str().unwrap().to_owned()),
            undisturbed: true,
            ..BootPlan::default()
        }
    }

    #[test]
    fn by_a_host_s_clock_it_is_the_idle_guest_that_is_traced_and_nothing_else() {
        let tracing = kernel(0);
        let booted = plan("plinth-init: up\\r\\nplinth-init: exit 0\\r\\n");
        let plan = BootPlan {
            boot: booted.boot,
            first_line: booted.first_line,
            last_line: booted.last_line,
            ..of_the_idle(tracing.path())
        };
        let sample = measure(&plan, &mut String::new()).unwrap();
        assert!(sample.first_entry_ns > 0 && sample.end_ns > 0, "{sample:?}");
        assert!(sample.memory.guest_kib > 0 && sample.memory.pss_kib > 0);
        let seen = fs::read_to_string(tracing.path().join("seen")).unwrap();
        for expected in ["plinth:slot", "kvm:kvm_entry", "p:plinth/slot kvm:"] {
            assert!(seen.contains(expected), "{seen}");
        }
        // What was defined is taken away again.
        let probes = fs::read_to_string(tracing.path().join("kprobe_events")).unwrap();
        assert!(probes.ends_with("-:plinth/slot\n"), "{probes}");
    }

    #[test]
    fn a_trace_of_which_any_cpu_lost_something_is_refused() {
        let tracing = kernel(1);
        let error = failure(&of_the_idle(tracing.path()));
        assert!(error.contains("the trace is incomplete"), "{error}");
    }
}
