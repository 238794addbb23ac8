//! What becomes of what was measured: it is shown, written, and compared.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use benches::report::baseline::compare;
use benches::report::likeness::{differences, incomparable, told_otherwise, unsuitable};
use benches::report::page::page;
use benches::report::{Conditions, Document, FORMAT, Mode, Report, table};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use tempfile::NamedTempFile;

/// Runs of one peer in the deterministic machine may differ by this part.
const REPEATABLE: f64 = 0.001;

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
    /// Write all of it as JSON to FILE as well, after each benchmark
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write all of it as a page with plots to FILE, which needs nothing else, after
    /// each benchmark
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare with an earlier run's JSON, and fail if something became worse; by the
    /// clock that is what has a 95 % interval of its own. What was measured with other
    /// options is refused; what else is not alike is said
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// By how much something may be worse than in the baseline
    #[arg(long, value_name = "PERCENT", default_value_t = TOLERANCE, requires = "baseline")]
    tolerance: f64,
}

/// An earlier run that is compared with.
#[derive(Debug)]
pub(super) struct Earlier {
    path: PathBuf,
    document: Document,
}

/// What was measured so far, and what becomes of it.
#[derive(Debug)]
pub(super) struct Results {
    output: Output,
    earlier: Option<Earlier>,
    document: Document,
    /// Whether everything could be written.
    written: bool,
}

impl Output {
    /// Fails where what is measured in `mode` could not be written or compared in the
    /// end. What it is compared with is read now: it may be written over.
    pub(super) fn check(&self, mode: Mode) -> Result<Option<Earlier>> {
        ensure!(
            self.tolerance.is_finite() && self.tolerance >= 0.0,
            "--tolerance is a percentage from 0 on"
        );
        let earlier = match &self.baseline {
            Some(path) => Some(Earlier {
                path: path.clone(),
                document: read(path)?,
            }),
            None => None,
        };
        if let Some(earlier) = &earlier
            && let Some(why) = unsuitable(&earlier.document, &Conditions::here(mode))
        {
            bail!("{}", earlier.refused(&why));
        }
        for path in self.json.iter().chain(&self.html) {
            // What is there is kept until there is something to write.
            let mut file = OpenOptions::new();
            file.create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("{} could not be written in the end", path.display()))?;
        }
        if let (Some(json), Some(html)) = (&self.json, &self.html) {
            // Both are there now.
            let [json, html] = [json, html].map(fs::canonicalize);
            ensure!(json? != html?, "--json and --html name one file");
        }
        Ok(earlier)
    }

    /// Nothing yet, measured under these conditions.
    pub(super) fn results(&self, earlier: Option<Earlier>, conditions: Conditions) -> Results {
        Results {
            output: self.clone(),
            earlier,
            document: Document {
                format: FORMAT,
                conditions,
                reports: Vec::new(),
            },
            written: true,
        }
    }
}

impl Earlier {
    fn refused(&self, why: &str) -> String {
        format!("{} cannot be compared with: {why}", self.path.display())
    }
}

impl Results {
    /// Fails if what comes of these benchmarks, which are called so and have these
    /// parameters, could not be compared in the end.
    pub(super) fn accept(&self, benchmarks: &[(&str, Vec<String>)]) -> Result<()> {
        let Some(earlier) = &self.earlier else {
            return Ok(());
        };
        let before = &earlier.document.reports;
        let known = |name: &str| before.iter().any(|report| report.benchmark == name);
        let names: Vec<&str> = benchmarks.iter().map(|(name, _)| *name).collect();
        ensure!(
            names.iter().any(|name| known(name)),
            "{}",
            earlier.refused(&format!("there is no {} in it", names.join(", ")))
        );
        for (name, parameters) in benchmarks {
            if let Some(why) = told_otherwise(&earlier.document, name, parameters) {
                bail!("{}", earlier.refused(&why));
            }
        }
        Ok(())
    }

    /// Adds what a benchmark found, and writes all there is. A file that cannot be
    /// written is a failure in the end: what was measured is shown all the same.
    pub(super) fn add(&mut self, report: Report) {
        self.document.reports.push(report);
        if let Err(error) = self.write() {
            eprintln!("{error:#}");
            self.written = false;
        }
    }

    fn write(&self) -> Result<()> {
        if let Some(path) = &self.output.json {
            let text = serde_json::to_string_pretty(&self.document)? + "\n";
            replace(path, &text)?;
        }
        if let Some(path) = &self.output.html {
            replace(path, &page(&self.document)?)?;
        }
        Ok(())
    }

    /// Shows what there is, and compares it if it is to be.
    pub(super) fn finish(self) -> Result<ExitCode> {
        match self.output.output {
            Format::Text => print!("{}", table::document(&self.document)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&self.document)?),
        }
        // Each says what is wrong: all of them are heard.
        let mut sound = self.written;
        for report in &self.document.reports {
            sound &= is_sound(report);
            sound &= self.document.conditions.mode == Mode::WallClock || repeats(report);
        }
        if let Some(earlier) = &self.earlier {
            sound &= self.holds(earlier)?;
        }
        Ok(match sound {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    /// Whether nothing is worse than it was; what is, is said, and what else is not
    /// alike.
    fn holds(&self, earlier: &Earlier) -> Result<bool> {
        let (then, now) = (&earlier.document, &self.document);
        if let Some(why) = incomparable(then, now) {
            bail!("{}", earlier.refused(&why));
        }
        for line in differences(then, now) {
            eprintln!("not alike: {line}");
        }
        let tolerance = self.output.tolerance / 100.0;
        let found = compare(then, now, &|_| tolerance);
        for one in &found.worse {
            eprintln!(
                "worse: {}, {}: {}: {}",
                one.benchmark, one.peer, one.figure, one.what
            );
        }
        eprintln!(
            "of {} figures {} are worse than in {} by more than {} %, and {} are better",
            found.compared,
            found.worse.len(),
            earlier.path.display(),
            self.output.tolerance,
            found.better.len()
        );
        if found.compared == 0 {
            eprintln!("nothing that was measured is in {}", earlier.path.display());
        }
        Ok(found.compared > 0 && found.worse.is_empty())
    }
}

/// Writes `text` to `path`. What a file had is kept until all of it is written.
fn replace(path: &Path, text: &str) -> Result<()> {
    let written = match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => replace_file(path, there.permissions(), text),
        // A link, a pipe, a terminal.
        _ => fs::write(path, text),
    };
    written.with_context(|| format!("writing {}", path.display()))
}

fn replace_file(path: &Path, permissions: Permissions, text: &str) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let Ok(mut beside) = NamedTempFile::new_in(directory.unwrap_or(Path::new("."))) else {
        // It may be written to, and its directory not.
        return fs::write(path, text);
    };
    beside.write_all(text.as_bytes())?;
    beside.as_file().set_permissions(permissions)?;
    beside.persist(path)?;
    Ok(())
}

/// Of an earlier run, what is the same in every form.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// An earlier run.
pub(super) fn read(path: &Path) -> Result<Document> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let foreign = || {
        format!(
            "{} is not what --json or --output json wrote",
            path.display()
        )
    };
    let Form { format } = serde_json::from_str(&text).with_context(foreign)?;
    ensure!(
        format == FORMAT,
        "{} was written by another plinth: its format is {format}, and this one reads {FORMAT}; \
         measure again what it is to be compared with",
        path.display()
    );
    serde_json::from_str(&text).with_context(foreign)
}

/// Whether something was measured, and everything of every monitor that was found.
fn is_sound(report: &Report) -> bool {
    let any = report.outcomes.iter().any(|one| !one.measured.is_empty());
    if !any {
        eprintln!("{}: nothing was measured", report.benchmark);
    }
    let whole = report.outcomes.iter().all(|one| one.failures.is_empty());
    any && report.failed.is_empty() && whole
}

/// Whether all rounds agreed.
fn repeats(report: &Report) -> bool {
    match report.largest_spread_of_rounds() {
        Some((spread, peer, figure)) if spread > REPEATABLE => {
            eprintln!("does not repeat: {}, {peer}: {figure}", report.benchmark);
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use benches::report::{Failed, Figure, Outcome, Rounds, Unit};

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
            parameters: vec!["256 MiB".to_owned()],
            figures: vec![Figure::less("init", "init", Unit::Nanoseconds)],
            outcomes: vec![outcome],
            rounds: Some(rounds(2)),
            ..Report::default()
        }
    }

    fn rounds(counted: u32) -> Rounds {
        let warm_up = 0;
        Rounds { warm_up, counted }
    }

    fn document(init: f64) -> Document {
        Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![report("boot", [init, init])],
        }
    }

    fn output() -> Output {
        Output {
            output: Format::Json,
            json: None,
            html: None,
            baseline: None,
            tolerance: 1.0,
        }
    }

    /// What comes of `report` beside what is in the file `baseline`.
    fn results(baseline: &Path, report: Report) -> Result<Results> {
        let output = Output {
            baseline: Some(baseline.to_owned()),
            ..output()
        };
        let earlier = output.check(Mode::Deterministic)?;
        let mut results = output.results(earlier, Conditions::default());
        results.add(report);
        Ok(results)
    }

    fn holds(results: &Results) -> Result<bool> {
        results.holds(results.earlier.as_ref().unwrap())
    }

    fn write(path: &Path, document: &Document) {
        fs::write(path, serde_json::to_string(document).unwrap()).unwrap();
    }

    #[test]
    fn rounds_agree_within_a_thousandth_sample_by_sample() {
        assert!(repeats(&report("boot", [1000.0, 1000.9])));
        assert!(!repeats(&report("boot", [1000.0, 1002.0])));
        let both_of_one = Report {
            rounds: Some(rounds(1)),
            ..report("growth", [1000.0, 1002.0])
        };
        assert!(repeats(&both_of_one));
        assert_eq!(both_of_one.largest_spread_of_rounds(), None);
        let twice = |more: [f64; 2]| {
            let mut twice = report("growth", [1000.0, 1002.0]);
            for sample in more {
                twice.outcomes[0].add("init", None, sample);
            }
            twice
        };
        assert!(repeats(&twice([1000.0, 1002.0])));
        assert!(!repeats(&twice([1002.0, 1000.0])));
    }

    #[test]
    fn a_failure_of_a_monitor_or_of_a_size_is_one_of_the_command_and_so_is_nothing() {
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
            ..sound.clone()
        };
        assert!(!is_sound(&failed));
        let mut empty = sound.clone();
        empty.outcomes[0].measured.clear();
        assert!(!is_sound(&empty));
        let nobody = Report {
            outcomes: Vec::new(),
            ..sound
        };
        assert!(!is_sound(&nobody));
    }

    #[test]
    fn an_earlier_run_is_compared_and_one_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("before.json");
        write(&path, &document(100.0));
        let beside = |init: f64| holds(&results(&path, report("boot", [init, init])).unwrap());
        assert!(beside(100.5).unwrap());
        assert!(!beside(102.0).unwrap());
        let refused = || {
            let error = results(&path, report("boot", [1.0, 1.0])).unwrap_err();
            format!("{error:#}")
        };
        let other = Document {
            format: FORMAT - 1,
            ..document(100.0)
        };
        write(&path, &other);
        assert!(refused().contains("its format is 1"), "{}", refused());
        let mut by_the_clock = document(100.0);
        by_the_clock.conditions.mode = Mode::WallClock;
        write(&path, &by_the_clock);
        assert!(refused().contains("--wall-clock"), "{}", refused());
        fs::write(&path, "not JSON").unwrap();
        assert!(refused().contains("is not what --json"), "{}", refused());
    }

    #[test]
    fn files_are_replaced_as_they_are_and_two_names_of_one_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        let link = directory.path().join("link");
        let both = Output {
            json: Some(path.clone()),
            html: Some(directory.path().join("./report")),
            ..output()
        };
        let error = both.check(Mode::Deterministic).unwrap_err().to_string();
        assert!(error.contains("name one file"), "{error}");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        for (path, text) in [(&path, "one"), (&link, "two")] {
            replace(path, text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn to_have_compared_nothing_is_a_failure_and_so_is_to_tolerate_everything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("before.json");
        write(&path, &document(100.0));
        let mut other = report("boot", [100.0, 100.0]);
        other.figures[0].name = "end".to_owned();
        other.outcomes[0].measured[0].figure = "end".to_owned();
        assert!(!holds(&results(&path, other).unwrap()).unwrap());
        let everything = Output {
            tolerance: f64::INFINITY,
            ..output()
        };
        assert!(everything.check(Mode::Deterministic).is_err());
    }

    #[test]
    fn what_could_not_be_compared_is_refused_before_it_is_measured() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("before.json");
        write(&path, &document(100.0));
        let results = results(&path, report("boot", [1.0, 1.0])).unwrap();
        let boot = |what: &str| [("boot", vec![what.to_owned()])];
        results.accept(&boot("256 MiB")).unwrap();
        let error = results.accept(&boot("512 MiB")).unwrap_err().to_string();
        assert!(
            error.contains("\"256 MiB\" then, \"512 MiB\" now"),
            "{error}"
        );
        let mut other = document(100.0);
        other.reports[0].benchmark = "density".to_owned();
        write(&path, &other);
        let results = self::results(&path, report("boot", [1.0, 1.0])).unwrap();
        let error = results.accept(&boot("256 MiB")).unwrap_err().to_string();
        assert!(error.contains("there is no boot in it"), "{error}");
    }

    #[test]
    fn files_are_tried_first_and_have_all_there_is_after_each_benchmark() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(directory.path().join(name));
        let nowhere = Output {
            html: path("no/such/directory"),
            ..output()
        };
        assert!(nowhere.check(Mode::Deterministic).is_err());
        let twice = Output {
            json: path("one"),
            html: path("one"),
            ..output()
        };
        assert!(twice.check(Mode::Deterministic).is_err());

        // What is compared with may be written over.
        let json = path("all.json").unwrap();
        write(&json, &document(100.0));
        let output = Output {
            json: Some(json.clone()),
            html: path("all.html"),
            baseline: Some(json.clone()),
            ..output()
        };
        let earlier = output.check(Mode::Deterministic).unwrap();
        let mut results = output.results(earlier, Conditions::default());
        assert_eq!(read(&json).unwrap(), document(100.0), "nothing is lost yet");
        for (count, benchmark) in ["boot", "growth"].into_iter().enumerate() {
            results.add(report(benchmark, [200.0, 200.0]));
            assert_eq!(read(&json).unwrap().reports.len(), count + 1);
            let html = fs::read_to_string(output.html.as_ref().unwrap()).unwrap();
            assert!(html.contains(benchmark));
        }
        assert!(!holds(&results).unwrap());
    }
}
