//! Starts guests, more and more of them, and sees what they take.

use std::fs;
use std::slice::Iter;

use anyhow::{Context, Result, ensure};
use benches::family::family;
use benches::probe::{DensityPlan, Started, Starts};

use crate::process::{Boot, now};

/// Measures. The first command is for a guest that warms up. What was measured before
/// something failed is kept; all that runs is ended.
pub(crate) fn measure(plan: &DensityPlan) -> Result<Starts> {
    let (first, commands) = plan.commands.split_first().context("nothing to start")?;
    let mut boot = Boot::start(first)?;
    let mut starts = Starts {
        warm_up_ns: boot.wait_for_line(&plan.idle_line)?,
        ..Starts::default()
    };
    boot.settle()?;
    drop(boot);

    let mut commands = commands.iter();
    let mut running: Vec<Boot> = Vec::new();
    let before = available()?;
    for count in &plan.counts {
        match up_to(*count, &mut commands, &mut running, &plan.idle_line, before) {
            Ok(started) => starts.started.push(started),
            Err(error) => {
                starts.failure = Some(format!("{count} guests: {error:#}"));
                break;
            }
        }
    }
    Ok(starts)
}

/// Starts those that are missing to `count`, at once, until the last is idle;
/// `before` is what the host had to give before all of them.
fn up_to(
    count: u64,
    commands: &mut Iter<'_, Vec<String>>,
    running: &mut Vec<Boot>,
    idle_line: &str,
    before: i64,
) -> Result<Started> {
    let missing = usize::try_from(count)?.saturating_sub(running.len());
    ensure!(missing > 0, "counts ascend");
    eprintln!("starting {missing} more, {count} in all");
    let start = now();
    let mut new = Vec::with_capacity(missing);
    for command in commands.by_ref().take(missing) {
        new.push(Boot::start(command)?);
    }
    ensure!(new.len() == missing, "there are fewer commands");
    for boot in &mut new {
        boot.wait_for_line(idle_line)?;
    }
    let time_ns = now() - start;
    running.extend(new);
    settle(running)?;
    Ok(Started {
        count,
        started: u64::try_from(missing)?,
        time_ns,
        host_kib: before - available()?,
        pss_kib: pss(running)?,
    })
}

/// Lets all come to rest; they must still be there.
fn settle(running: &mut [Boot]) -> Result<()> {
    let (last, others) = running.split_last_mut().context("nothing runs")?;
    last.settle()?;
    others.iter_mut().try_for_each(Boot::still_runs)
}

/// What the kernel could give to new programs, in KiB (proc(5)).
fn available() -> Result<i64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let kib = field(&text, "MemAvailable").context("/proc/meminfo has no MemAvailable")?;
    Ok(i64::try_from(kib)?)
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
    use std::ops::RangeInclusive;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_field_is_read_by_its_whole_name() {
        let text = "Rss:  9 kB\nPss_Dirty: 8 kB\nPss:   7 kB\n";
        assert_eq!(field(text, "Pss"), Some(7));
        assert_eq!(field(text, "Swap"), None);
    }

    /// A guest that idles, whose process leaves its number in `directory`.
    fn idle(directory: &Path, number: u32) -> Vec<String> {
        let path = directory.display();
        let script = format!("echo $$ > {path}/{number}; printf 'idle\\r\\n'; exec sleep 60");
        ["sh", "-c", &script].map(str::to_owned).to_vec()
    }

    fn assert_ended(directory: &Path, numbers: RangeInclusive<u32>) {
        for number in numbers {
            let pid = fs::read_to_string(directory.join(number.to_string())).unwrap();
            let process = format!("/proc/{}", pid.trim());
            assert!(!Path::new(&process).exists(), "{number} runs on");
        }
    }

    #[test]
    fn guests_are_added_up_to_each_count_and_ended() {
        let directory = tempfile::tempdir().unwrap();
        let plan = DensityPlan {
            commands: (0..=3)
                .map(|number| idle(directory.path(), number))
                .collect(),
            idle_line: "idle".to_owned(),
            counts: vec![1, 3],
        };
        let found = measure(&plan).unwrap();
        let counts = found.started.iter().map(|one| (one.count, one.started));
        assert_eq!(counts.collect::<Vec<_>>(), [(1, 1), (3, 2)]);
        let sound = |one: &Started| one.time_ns > 0 && one.pss_kib > 0;
        assert!(found.started.iter().all(sound) && found.warm_up_ns > 0);
        assert_eq!(found.failure, None);
        assert_ended(directory.path(), 0..=3);
    }

    #[test]
    fn what_was_measured_before_a_guest_failed_is_kept_and_all_are_ended() {
        let directory = tempfile::tempdir().unwrap();
        let refuses = ["sh", "-c", "echo no memory"].map(str::to_owned).to_vec();
        let mut commands: Vec<_> = (0..=2)
            .map(|number| idle(directory.path(), number))
            .collect();
        commands.push(refuses);
        let plan = DensityPlan {
            commands,
            idle_line: "idle".to_owned(),
            counts: vec![1, 3],
        };
        let found = measure(&plan).unwrap();
        assert_eq!(found.started.len(), 1);
        let failure = found.failure.unwrap();
        assert!(failure.starts_with("3 guests: ") && failure.contains("no memory"));
        assert_ended(directory.path(), 0..=2);
    }
}
