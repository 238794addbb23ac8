//! Starts guests, more and more of them, and sees what they take.

use std::fs;

use anyhow::{Context, Result, ensure};
use benches::probe::{DensityPlan, Started};

use crate::memory::family;
use crate::process::{Boot, now};

/// Measures. The first command is for a guest that warms up.
pub(crate) fn measure(plan: &DensityPlan) -> Result<Vec<Started>> {
    let (first, commands) = plan.commands.split_first().context("nothing to start")?;
    let mut boot = Boot::start(first)?;
    boot.wait_for_line(&plan.idle_line)?;
    boot.settle()?;
    boot.kill()?;

    let mut commands = commands.iter();
    let mut running: Vec<Boot> = Vec::new();
    let mut found = Vec::new();
    let before = available()?;
    for count in &plan.counts {
        let missing = usize::try_from(*count)?.saturating_sub(running.len());
        ensure!(missing > 0, "counts ascend");
        eprintln!("starting {missing} more, {count} in all");
        let start = now();
        let mut new = Vec::with_capacity(missing);
        for command in commands.by_ref().take(missing) {
            new.push(Boot::start(command)?);
        }
        ensure!(new.len() == missing, "there are fewer commands");
        for boot in &mut new {
            boot.wait_for_line(&plan.idle_line)?;
        }
        let time_ns = now() - start;
        running.extend(new);
        settle(&mut running)?;
        found.push(Started {
            count: *count,
            started: u64::try_from(missing)?,
            time_ns,
            host_kib: before.saturating_sub(available()?),
            pss_kib: pss(&running)?,
        });
    }
    for boot in running {
        boot.kill()?;
    }
    Ok(found)
}

/// Lets all come to rest; they must still be there.
fn settle(running: &mut [Boot]) -> Result<()> {
    let (last, others) = running.split_last_mut().context("nothing runs")?;
    last.settle()?;
    others.iter_mut().try_for_each(Boot::still_runs)
}

/// What the kernel could give to new programs, in KiB (proc(5)).
fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    field(&text, "MemAvailable").context("/proc/meminfo has no MemAvailable")
}

/// The proportional set sizes of all processes together, in KiB.
fn pss(running: &[Boot]) -> Result<u64> {
    let mut sum = 0;
    for boot in running {
        for pid in family(boot.pid())? {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
            sum += field(&text, "Pss").with_context(|| format!("{path} has no Pss"))?;
        }
    }
    Ok(sum)
}

/// `KEY:    VALUE kB`.
fn field(text: &str, key: &str) -> Option<u64> {
    let mut values = text.lines().filter_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix(':')?;
        value.trim().trim_end_matches(" kB").parse().ok()
    });
    values.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_by_its_whole_name() {
        let text = "Rss:  9 kB\nPss_Dirty: 8 kB\nPss:   7 kB\n";
        assert_eq!(field(text, "Pss"), Some(7));
        assert_eq!(field(text, "Swap"), None);
    }

    #[test]
    fn guests_are_added_up_to_each_count_and_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let command = |number: u32| {
            let script = format!("echo $$ > {path}/{number}; printf 'idle\\r\\n'; exec sleep 60");
            ["sh", "-c", &script].map(str::to_owned).to_vec()
        };
        let plan = DensityPlan {
            commands: (0..=3).map(command).collect(),
            idle_line: "idle".to_owned(),
            counts: vec![1, 3],
        };
        let found = measure(&plan).unwrap();
        let counts: Vec<_> = found.iter().map(|one| (one.count, one.started)).collect();
        assert_eq!(counts, [(1, 1), (3, 2)]);
        assert!(found.iter().all(|one| one.time_ns > 0 && one.pss_kib > 0));
        for number in 0..=3 {
            let pid = fs::read_to_string(directory.path().join(number.to_string())).unwrap();
            let process = format!("/proc/{}", pid.trim());
            assert!(!std::path::Path::new(&process).exists(), "{number} runs on");
        }
    }
}
