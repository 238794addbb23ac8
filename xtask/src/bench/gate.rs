//! The boot that must not become worse: its exits, system calls and instructions
//! are kept in the repository, and `cargo xtask test` compares.
//!
//! It is measured of the development build, which the tests have built anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use benches::benchmark::{Rounds, carry_out};
use benches::boot::{BootBench, View};
use benches::peer::Peer;
use benches::report::baseline::{incomparable, regressions};
use benches::report::{Conditions, Document, FORMAT, Figure, Mode};
use clap::Args;

use super::output::read;
use super::testbed::Parts;
use crate::workspace;

/// What is compared, and how much worse it may be.
///
/// A release and a development build differ by 8 % in the instructions before the
/// first entry, and by 0.2 % in those to init. They take the same exits to user
/// space, so these are exact; of other exits, of which some are interrupts, three
/// are different, as are three calls of `futex`, for these depend on when things
/// happen. What else differs is that Rust's library asks `fcntl` in a development
/// build whether descriptors are open. What is tolerated is some times as much, for
/// another compiler or another library may do such things.
const TOLERANCES: [(&str, f64); 7] = [
    ("user-exits", 0.0),
    ("start-calls", 0.02),
    ("system-calls", 0.02),
    ("exits", 0.01),
    ("init", 0.01),
    ("first-entry", 0.10),
    ("memory-pss", 0.15),
];

/// What is tolerated of everything if one of the kernels is another one.
const OTHER_KERNEL: f64 = 0.25;

/// Renew the figures of a boot that cargo xtask test compares with.
///
/// Writes benches/baseline/boot.json. Whoever changes it says in the commit why.
#[derive(Debug, Args)]
pub(super) struct Baseline {
    /// Compare only, as cargo xtask test does
    #[arg(long)]
    check: bool,
}

impl Baseline {
    /// Measures and writes, or compares.
    pub(super) fn run(self) -> Result<ExitCode> {
        let programs = workspace::build_programs()?;
        if self.check {
            holds(&programs)?;
            return Ok(ExitCode::SUCCESS);
        }
        let document = measure(&programs)?;
        let path = path();
        let directory = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, serde_json::to_string_pretty(&document)? + "\n"))
            .with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Boots once, with the programs in this directory, and fails if something is
/// worse than it was.
pub(crate) fn holds(programs: &Path) -> Result<()> {
    let then = read(&path()).context("the baseline, which cargo xtask bench baseline writes")?;
    let now = measure(programs)?;
    if let Some(why) = incomparable(&then, &now) {
        anyhow::bail!("the baseline cannot be compared with: {why}");
    }
    let same = same_kernels(&then.conditions, &now.conditions);
    if !same {
        println!(
            "kernels are not those of the baseline ({} in {}): only what is worse by {:.0} % fails",
            then.conditions.guest_kernel,
            then.conditions.outer_kernel.as_deref().unwrap_or("none"),
            OTHER_KERNEL * 100.0
        );
    }
    let worse = regressions(&then, &now, &|figure| tolerance(figure, same));
    for report in &now.reports {
        for (figure, at) in report.rows() {
            for outcome in &report.outcomes {
                let shown = benches::report::table::cell(outcome, figure, at);
                println!("{}: {shown}", figure.name);
            }
        }
    }
    let worse: Vec<String> = worse
        .iter()
        .map(|one| format!("{} is {}", one.figure, one.what))
        .collect();
    ensure!(
        worse.is_empty(),
        "a boot became worse: {}; cargo xtask bench exits shows where, and if that is how it \
         is to be, cargo xtask bench baseline renews the figures",
        worse.join("; ")
    );
    Ok(())
}

fn path() -> PathBuf {
    workspace::root().join("benches/baseline/boot.json")
}

/// One boot of plinth, without what would change with every commit.
fn measure(programs: &Path) -> Result<Document> {
    let parts = Parts::get(Mode::Deterministic, Some(programs.join("monitor-probe")))?;
    let bench = BootBench {
        testbed: parts.bare.clone(),
        view: View::Boot,
        memory_mib: 256,
        words: String::new(),
        traces: None,
    };
    let peer = Peer::named("plinth").context("plinth is a peer")?;
    let subject = (peer, Some(programs.join("plinth")));
    let once = Rounds {
        warm_up: 0,
        counted: 1,
    };
    let mut report = carry_out(&bench, &[subject], once, &mut |_| ());
    if let Some(failed) = report.failed.first() {
        anyhow::bail!("{}", failed.why);
    }
    let compared = |figure: &Figure| TOLERANCES.iter().any(|(name, _)| figure.name == *name);
    report.figures.retain(compared);
    for outcome in &mut report.outcomes {
        outcome.raw.clear();
    }
    Ok(Document {
        format: FORMAT,
        conditions: parts.conditions(),
        reports: vec![report],
    })
}

fn same_kernels(then: &Conditions, now: &Conditions) -> bool {
    let kernels = |one: &Conditions| (one.guest_kernel.clone(), one.outer_kernel.clone());
    kernels(then) == kernels(now)
}

fn tolerance(figure: &Figure, same_kernels: bool) -> f64 {
    let mut known = TOLERANCES.iter();
    match known.find(|(name, _)| figure.name == *name) {
        Some((_, tolerance)) if same_kernels => *tolerance,
        _ => OTHER_KERNEL,
    }
}

#[cfg(test)]
mod tests {
    use benches::report::Unit;

    use super::*;

    #[test]
    fn counts_are_exact_only_with_the_same_kernels() {
        let exits = Figure::less("user-exits", "", Unit::Count);
        assert!(tolerance(&exits, true) < 1e-9);
        assert!(tolerance(&exits, false) > 0.1);
        let conditions = |guest: &str| Conditions {
            guest_kernel: guest.to_owned(),
            ..Conditions::default()
        };
        assert!(same_kernels(&conditions("6.1"), &conditions("6.1")));
        assert!(!same_kernels(&conditions("6.1"), &conditions("6.12")));
    }

    #[test]
    fn the_baseline_that_is_kept_has_every_figure_that_is_compared() {
        let kept = read(&path()).unwrap();
        let outcome = &kept.reports[0].outcomes[0];
        for (name, _) in TOLERANCES {
            assert!(outcome.summary(name, None).is_some(), "{name}");
        }
        assert_eq!(kept.format, FORMAT);
    }
}
