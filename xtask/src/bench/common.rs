//! What all benchmarks of several monitors have in common on the command line:
//! who is measured, how often, and what becomes of it.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use benches::benchmark::{Benchmark, Rounds, carry_out};
use benches::peer::Aspect;
use benches::report::{Mode, Report};
use clap::{Args, value_parser};

use super::output::{Output, Results};
use super::peers::Peers;
use super::testbed::Parts;

/// Who is measured, how often, and what becomes of it.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    peers: Peers,
    /// How often to measure each: once (boot and exits twice), or 20 times by
    /// the clock
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
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

    /// Makes the directory for traces, where there are to be some.
    pub(super) fn make_room_for_traces(&self, directory: Option<&Path>) -> Result<()> {
        let Some(directory) = directory else {
            return Ok(());
        };
        ensure!(
            !self.wall_clock,
            "--traces are of boots whose exits and calls are counted, which they are not with \
             --wall-clock"
        );
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))
    }

    /// The parts of what is measured, of which these are the aspects, and where
    /// results go. All that is asked for is checked before anything is made.
    pub(super) fn prepare(&self, aspects: &[Aspect]) -> Result<(Parts, Results)> {
        self.peers.check(aspects)?;
        let earlier = self.output.check(self.mode())?;
        let parts = Parts::get(self.mode(), self.peers.plinth())?;
        let results = self.output.results(earlier, parts.conditions.clone());
        Ok((parts, results))
    }

    /// Carries `benchmark` out alone; `deterministic` rounds are usual where
    /// instructions are counted.
    pub(super) fn measure(
        &self,
        parts: &Parts,
        mut results: Results,
        benchmark: &dyn Benchmark,
        deterministic: u32,
    ) -> Result<ExitCode> {
        results.accept(&[(benchmark.name(), benchmark.parameters())])?;
        results.add(self.carry_out(parts, benchmark, deterministic));
        results.finish()
    }

    /// What comes of one of several benchmarks.
    pub(super) fn carry_out(
        &self,
        parts: &Parts,
        benchmark: &dyn Benchmark,
        deterministic: u32,
    ) -> Report {
        let subjects = self
            .peers
            .subjects(benchmark.aspect(), parts.plinth.as_deref());
        let rounds = self.rounds(deterministic);
        let mut say = |line: &str| eprintln!("{line}");
        let mut report = carry_out(benchmark, &subjects, rounds, &mut say);
        self.peers.demand(&mut report);
        report
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
}

/// A help text for an option that takes several values, and those that it has unless
/// told otherwise, as it takes them.
pub(super) fn with_default<T: Display>(help: &str, values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    format!("{help} [default: {}]", values.join(","))
}

/// Each of these once, where it was named first.
pub(super) fn each_once<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_shown_as_it_can_be_given() {
        assert_eq!(with_default("Sizes", &[1, 4]), "Sizes [default: 1,4]");
    }

    #[test]
    fn what_is_named_twice_is_measured_once() {
        assert_eq!(each_once(["read", "write", "read"]), ["read", "write"]);
    }
}
