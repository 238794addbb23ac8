//! What becomes of what was measured: it is shown, written, and compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use benches::report::baseline::{incomparable, regressions};
use benches::report::page::page;
use benches::report::{Conditions, Document, FORMAT, Mode, Report, table};
use clap::{Args, ValueEnum};

/// Runs of one peer in the deterministic machine may differ by this part.
const REPEATABLE: f64 = 0.001;

/// Benchmarks of which a round has many samples, of different moments.
const MANY_SAMPLES: [&str; 2] = ["control", "volume"];

/// What is tolerated beside a baseline unless told otherwise, in percent.
const TOLERANCE: f64 = 1.0;

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// What becomes of what was measured.
#[derive(Clone, Debug, Args)]
pub(super) struct Output {
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

impl Output {
    /// Fails where what is measured could not be compared in the end.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(path) = &self.baseline {
            read(path)?;
        }
        ensure!(
            self.tolerance >= 0.0,
            "--tolerance is a percentage from 0 on"
        );
        Ok(())
    }

    /// Shows `reports`, writes and compares what is to be written and compared.
    pub(super) fn finish(&self, conditions: Conditions, reports: Vec<Report>) -> Result<ExitCode> {
        let document = Document {
            format: FORMAT,
            conditions,
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
    if MANY_SAMPLES.contains(&report.benchmark.as_str()) {
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

#[cfg(test)]
mod tests {
    use benches::report::{Failed, Figure, Outcome, Unit};

    use super::*;

    fn report(benchmark: &str, samples: [f64; 2]) -> Report {
        let mut outcome = Outcome {
            peer: "plinth".to_owned(),
            ..Outcome::default()
        };
        for sample in samples {
            outcome.add("init", None, sample);
        }
        Report {
            benchmark: benchmark.to_owned(),
            figures: vec![Figure::less("init", "init", Unit::Nanoseconds)],
            outcomes: vec![outcome],
            ..Report::default()
        }
    }

    #[test]
    fn rounds_agree_within_a_thousandth_but_for_many_questions_in_one() {
        assert!(repeats(&report("boot", [1000.0, 1000.9])));
        assert!(!repeats(&report("boot", [1000.0, 1002.0])));
        for benchmark in MANY_SAMPLES {
            assert!(repeats(&report(benchmark, [1000.0, 1002.0])));
        }
    }

    #[test]
    fn a_failure_of_a_monitor_or_of_a_size_is_one_of_the_command() {
        let sound = report("boot", [1.0, 1.0]);
        assert!(is_sound(&sound));
        let mut one_size = sound.clone();
        let failures = &mut one_size.outcomes[0].failures;
        failures.push("16 disks: too many".to_owned());
        assert!(!is_sound(&one_size));
        let failed = Failed {
            peer: "qemu-q35".to_owned(),
            why: "it ended early".to_owned(),
        };
        let failed = Report {
            failed: vec![failed],
            ..sound
        };
        assert!(!is_sound(&failed));
    }

    #[test]
    fn an_earlier_run_is_compared_and_one_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("before.json");
        let document = |init: f64| Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![report("boot", [init, init])],
        };
        fs::write(&path, serde_json::to_string(&document(100.0)).unwrap()).unwrap();
        let output = Output {
            output: Format::Json,
            html: None,
            baseline: Some(path.clone()),
            tolerance: 1.0,
        };
        output.check().unwrap();
        assert!(output.compares(&path, &document(100.5)).unwrap());
        assert!(!output.compares(&path, &document(102.0)).unwrap());
        fs::write(&path, "not JSON").unwrap();
        let error = output.check().unwrap_err().to_string();
        assert!(error.contains("is not what --output json wrote"), "{error}");
    }
}
