//! Measuring how many guests start in a second, and what each idle one takes, with
//! more and more of them on one machine.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::benchmark::Benchmark;
use crate::float::float;
use crate::guest::{IDLE_LINE, IDLE_WORDS};
use crate::peer::{Aspect, Guest, Peer};
use crate::probe::{DensityPlan, Plan, Starts};
use crate::report::{Figure, Outcome, Unit};
use crate::testbed::Testbed;
use crate::watch::{answer, probing};

/// How many guests, and where.
#[derive(Clone, Debug)]
pub struct DensityBench {
    /// Where.
    pub testbed: Testbed,
    /// After how many guests to measure, ascending.
    pub counts: Vec<u64>,
    /// Memory of each in MiB.
    pub memory_mib: u32,
    /// More words for the guest's kernel.
    pub words: String,
}

const OVER: &str = "VMs";

/// What most monitors and guests take of the machine's memory, in MiB each.
const MIB_EACH: u32 = 128;

/// The kernel does not test its ciphers first: of a boot that is more than half,
/// and the same for all.
const WORDS: &str = "cryptomgr.notests";

impl Benchmark for DensityBench {
    fn name(&self) -> &'static str {
        "density"
    }

    fn aspect(&self) -> Aspect {
        Aspect::Machine
    }

    fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
        let memory = |name, title| Figure::less(name, title, Unit::Kibibytes).over(OVER);
        vec![
            Figure::more("starts", "started in a second", Unit::PerSecond).over(OVER),
            memory("host-memory", "host memory for each idle one"),
            memory("pss", "  of it VMM and guest (PSS)"),
        ]
    }

    fn parameters(&self) -> Vec<String> {
        vec![
            format!(
                "guests with 1 vCPU and {} MiB of memory; as many as are missing to the next \
                 count of {:?} are started at once, until the last is idle",
                self.memory_mib, self.counts
            ),
            "one guest before all of them warms up and is ended".to_owned(),
            "host memory is what MemAvailable became less: guests, monitors and the kernel's \
             share; a file that is mapped was in memory before, so that it is in PSS alone"
                .to_owned(),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let words = format!("{WORDS} {}", self.words);
        let mut outcome = Outcome::of(peer, program, peer.command_line(&words));
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let most = self.counts.iter().copied().max().context("no count")?;
        let most = u32::try_from(most).context("too many guests")?;
        let mut commands = Vec::new();
        let (mut files, mut environment) = (Vec::new(), Vec::new());
        for number in 0..=most {
            let launch = peer.launch(&Guest {
                number,
                memory_mib: self.memory_mib,
                command_line: peer.command_line(&format!("{IDLE_WORDS} {words}")),
                ..self.testbed.guest(program, scratch.path())?
            })?;
            commands.push(launch.argv);
            files.extend(launch.files);
            environment = launch.environment;
        }
        let plan = Plan::Density(DensityPlan {
            commands,
            idle_line: IDLE_LINE.to_owned(),
            counts: self.counts.clone(),
        });
        let mut run = probing(&self.testbed, program, &plan)?;
        run.files = files;
        run.environment = environment;
        run.memory_mib = 2048 + most * MIB_EACH;
        // The probe is silent until the last of them is idle.
        run.stall_bound = Duration::from_secs(600 + 60 * u64::from(most));
        run.total_bound = run.stall_bound * 2;
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        let starts: Starts = answer(&finished)?;
        for one in &starts.started {
            let (at, count) = (Some(one.count), float(one.count));
            let rate = float(one.started) * 1e9 / float(one.time_ns);
            outcome.add("starts", at, rate);
            outcome.add("host-memory", at, signed(one.host_kib) / count);
            outcome.add("pss", at, float(one.pss_kib) / count);
        }
        match &starts.failure {
            Some(why) if starts.started.is_empty() => bail!("{why}"),
            Some(why) => outcome.failures.push(why.clone()),
            None => ensure!(
                starts.started.len() == self.counts.len(),
                "the probe left counts out"
            ),
        }
        outcome.raw.push(serde_json::to_value(&starts)?);
        Ok(outcome)
    }
}

/// A difference, which may be below zero.
fn signed(value: i64) -> f64 {
    let size = float(value.unsigned_abs());
    if value < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_others_gave_up_meanwhile_is_not_hidden() {
        assert!((signed(-3) + 3.0).abs() < 1e-9 && (signed(3) - 3.0).abs() < 1e-9);
    }
}
