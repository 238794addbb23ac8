//! What all benchmarks of several monitors have in common on the command line:
//! who is measured, how often, and what becomes of it.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use benches::benchmark::{Benchmark, Rounds, carry_out};
use benches::report::{Mode, Report};
use clap::Args;

use super::output::Output;
use super::peers::Peers;
use super::testbed::Parts;

/// Who is measured, how often, and what becomes of it.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    peers: Peers,
    /// How often to measure each: once (boot and exits twice), or 20 times by
    /// the clock
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Measure time instead of instructions, by hardware KVM: rounds of all
    /// monitors one after the other, medians with their 95 % intervals
    #[arg(long)]
    wall_clock: bool,
    /// More words for the guest's kernel
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub(super) append: String,
    #[command(flatten)]
    output: Output,
}

impl Common {
    /// How time is counted.
    pub(super) fn mode(&self) -> Mode {
        match self.wall_clock {
            true => Mode::WallClock,
            false => Mode::Deterministic,
        }
    }

    /// What `what`, which knows no other way, is told.
    pub(super) fn only_deterministic(&self, what: &str) -> Result<()> {
        ensure!(
            !self.wall_clock,
            "cargo xtask bench {what} counts what a boot does, which by the clock would change \
             what is measured: it knows no --wall-clock, as all others do that compare monitors"
        );
        Ok(())
    }

    /// The parts of what is measured.
    pub(super) fn parts(&self) -> Result<Parts> {
        self.output.check()?;
        Parts::get(self.mode(), None)
    }

    /// Carries `benchmark` out; `deterministic` rounds are usual where instructions
    /// are counted.
    pub(super) fn carry_out(
        &self,
        benchmark: &dyn Benchmark,
        deterministic: u32,
    ) -> Result<Report> {
        let rounds = self.rounds(deterministic);
        ensure!(rounds.counted > 0, "--rounds: something is measured once");
        let subjects = self.peers.subjects(benchmark.aspect())?;
        let mut report = carry_out(benchmark, &subjects, rounds, &mut |line| {
            eprintln!("{line}")
        });
        report.parameters.push(format!(
            "rounds: {}, after {} that warm up and do not count",
            rounds.counted, rounds.warm_up
        ));
        Ok(report)
    }

    fn rounds(&self, deterministic: u32) -> Rounds {
        let (warm_up, usual) = match self.mode() {
            // Each run warms up by itself.
            Mode::Deterministic => (0, deterministic),
            Mode::WallClock => (2, 20),
        };
        Rounds {
            warm_up,
            counted: self.rounds.unwrap_or(usual),
        }
    }

    /// Shows `reports`, writes and compares what is to be written and compared.
    pub(super) fn finish(&self, parts: &Parts, reports: Vec<Report>) -> Result<ExitCode> {
        self.output.finish(parts.conditions(), reports)
    }
}
