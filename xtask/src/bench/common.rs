//! What all benchmarks of several monitors have in common on the command line:
//! who is measured, how often, and what becomes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use benches::benchmark::{Benchmark, Rounds, carry_out};
use benches::report::baseline::{incomparable, regressions};
use benches::report::page::page;
use benches::report::{Document, FORMAT, Mode, Report, table};
use clap::Args;

use super::Format;
use super::peers::Peers;
use super::testbed::Parts;

/// Runs of one peer in the deterministic machine may differ by this part.
const REPEATABLE: f64 = 0.001;

/// What is tolerated beside a baseline unless told otherwise, in percent.
const TOLERANCE: f64 = 1.0;

/// Who is measured, how often, and what becomes of it.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    peers: Peers,
    /// How often to measure each: once, or 20 times by the clock
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Measure time instead of instructions, by hardware KVM: rounds of all
    /// monitors one after the other, medians with their 95 % intervals
    #[arg(long)]
    wall_clock: bool,
    /// More words for the guest's kernel
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub(super) append: String,
    /// As a table for people, or as JSON, with every sample
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Write all of it as a page with plots to FILE, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare with an earlier run's JSON, and fail if something became worse
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// By how much something may be worse than in the baseline
    #[arg(long, value_name = "PERCENT", default_value_t = TOLERANCE, requires = "baseline")]
    tolerance: f64,
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
            "cargo xtask bench {what} counts instructions and knows no --wall-clock; \
             boot, density, control and growth do"
        );
        Ok(())
    }

    /// The parts of what is measured.
    pub(super) fn parts(&self) -> Result<Parts> {
        // What could not be compared in the end need not be measured.
        if let Some(path) = &self.baseline {
            read(path)?;
            ensure!(
                self.tolerance >= 0.0,
                "--tolerance is a percentage from 0 on"
            );
        }
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
            "{} rounds after {} that warm up and do not count",
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
        let document = Document {
            format: FORMAT,
            conditions: parts.conditions(),
            reports,
        };
        match self.output {
            Format::Text => print!("{}", table::document(&document)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&document)?),
        }
        if let Some(path) = &self.html {
            fs::write(path, page(&document)?)
                .with_context(|| format!("writing {}", path.display()))?;
        }
        let mut sound = document.reports.iter().all(is_sound);
        if document.conditions.mode == Mode::Deterministic {
            sound &= document.reports.iter().all(repeats);
        }
        if let Some(path) = &self.baseline {
            sound &= self.compares(path, &document)?;
        }
        Ok(match sound {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    /// Whether nothing is worse than in the baseline; what is, is said.
    fn compares(&self, path: &Path, document: &Document) -> Result<bool> {
        let then = read(path)?;
        if let Some(why) = incomparable(&then, document) {
            bail!("{} cannot be compared with: {why}", path.display());
        }
        let tolerance = self.tolerance / 100.0;
        let worse = regressions(&then, document, &|_| tolerance);
        for one in &worse {
            eprintln!(
                "worse: {}, {}: {} is {}",
                one.benchmark, one.peer, one.figure, one.what
            );
        }
        eprintln!(
            "{} figures are worse than in {} by more than {} %",
            worse.len(),
            path.display(),
            self.tolerance
        );
        Ok(worse.is_empty())
    }
}

/// An earlier run.
pub(super) fn read(path: &Path) -> Result<Document> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not what --output json wrote", path.display()))
}

/// Whether everything was measured of every monitor that was found.
fn is_sound(report: &Report) -> bool {
    let whole = report.outcomes.iter().all(|one| one.failures.is_empty());
    report.failed.is_empty() && whole
}

/// Whether all rounds agreed, where each gave a sample.
fn repeats(report: &Report) -> bool {
    if report.benchmark == "control" {
        // Each of its rounds has many samples, which are of different moments.
        return true;
    }
    match report.largest_spread() {
        Some((spread, peer, figure)) if spread > REPEATABLE => {
            eprintln!("does not repeat: {peer}, {figure}");
            false
        }
        _ => true,
    }
}
