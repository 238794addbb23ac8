//! Measuring the memory of monitors whose guests are idle, at several sizes of
//! guest memory.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::benchmark::Benchmark;
use crate::float::float;
use crate::guest::{IDLE_LINE, IDLE_WORDS};
use crate::known;
use crate::peer::{Aspect, Guest, Peer};
use crate::probe::{BootPlan, Plan, Sample};
use crate::report::{Figure, Outcome, Unit};
use crate::testbed::Testbed;
use crate::watch::{answer, more_memory, probing};

/// Which guests idle, and where.
#[derive(Clone, Debug)]
pub struct MemoryBench {
    /// Where.
    pub testbed: Testbed,
    /// Guest memory in MiB, each in a run of its own.
    pub sizes: Vec<u32>,
    /// More words for the guest's kernel.
    pub words: String,
}

const OVER: &str = "MiB of guest memory";

impl Benchmark for MemoryBench {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn aspect(&self) -> Aspect {
        Aspect::Machine
    }

    fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
        let of = |name, title| Figure::less(name, title, Unit::Kibibytes).over(OVER);
        vec![
            of("memory-pss", "memory of the VMM (PSS), guest idle"),
            of("memory-private", "  of it not shared with anyone"),
            of("guest-memory", "guest memory in use"),
        ]
    }

    fn parameters(&self) -> Vec<String> {
        vec![
            "half a second after its guest's shell fell asleep; guest memory is what the \
             monitor gave KVM as memory slots, and what is beside it is the VMM's"
                .to_owned(),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let mut outcome = Outcome::of(peer, program, peer.command_line(&self.words));
        for mib in &self.sizes {
            if let Err(error) = self.size(peer, program, *mib, &mut outcome) {
                outcome.failures.push(format!("{mib} {OVER}: {error:#}"));
            }
        }
        ensure!(
            !outcome.measured.is_empty(),
            "{}",
            outcome.failures.join("; ")
        );
        Ok(outcome)
    }
}

impl MemoryBench {
    fn size(&self, peer: &Peer, program: &Path, mib: u32, outcome: &mut Outcome) -> Result<()> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let launch = peer.launch(&Guest {
            memory_mib: mib,
            command_line: peer.command_line(&format!("{IDLE_WORDS} {}", self.words)),
            ..self.testbed.guest(program, scratch.path())?
        })?;
        let plan = BootPlan {
            idle: launch.argv,
            idle_line: IDLE_LINE.to_owned(),
            tracing: Some(self.testbed.tracing()?),
            ..BootPlan::default()
        };
        let mut run = probing(&self.testbed, program, &Plan::Boot(plan))?;
        run.files = launch.files;
        run.environment = launch.environment;
        run.memory_mib += more_memory(mib);
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        let sample: Sample = answer(&finished)?;
        for (name, kib) in known::memory(&sample.memory) {
            outcome.add(name, Some(u64::from(mib)), float(kib));
        }
        outcome.raw.push(serde_json::to_value(&sample)?);
        Ok(())
    }
}
