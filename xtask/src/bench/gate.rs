//! The boot that must not become worse: its exits, system calls and instructions
//! are kept in the repository, and `cargo xtask test` compares.
//!
//! It is measured of the development build, which the tests have built anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use benches::benchmark::{Rounds, carry_out};
use benches::boot::{BootBench, View};
use benches::peer::Peer;
use benches::report::baseline::{Change, compare};
use benches::report::likeness::{differences, incomparable};
use benches::report::{Conditions, Document, FORMAT, Figure, Mode, table};
use clap::Args;

use super::output::read;
use super::testbed::{Parts, Plinth};
use crate::workspace;

/// What is compared, and how much worse it may be.
///
/// A release and a development build differ by 8 % in the instructions before the
/// first entry, and by 0.2 % in those to init. They take the same exits to user
/// space, so these are exact; of other exits, of which some are interrupts, three
/// are different, as are three calls of `futex`, for these depend on when things
/// happen. What else differs is that Rust's library asks `fcntl` in a development
/// build whether descriptors are open. The memory of one build was 2.67 MiB in one
/// benchmark and 2.83 in another, 6 % more, whose machines have other files. What is
/// tolerated is some times as much, for another compiler or another library may do such
/// things.
const TOLERANCES: [(&str, f64); 7] = [
    ("user-exits", 0.0),
    ("start-calls", 0.02),
    ("system-calls", 0.02),
    ("exits", 0.01),
    ("init", 0.01),
    ("first-entry", 0.10),
    ("memory-pss", 0.15),
];

/// Which of them take longer in another kernel or emulator, and are no counts.
const TIMES_AND_MEMORY: [&str; 3] = ["init", "first-entry", "memory-pss"];

/// The least that is tolerated of counts if KVM is of another kernel: which exits it
/// takes to user space is its own business.
const OTHER_KVM: f64 = 0.01;

/// The least that is tolerated of counts if the guest's kernel is another one. A
/// stable kernel asks its devices what the last one asked them.
const OTHER_GUEST: f64 = 0.10;

/// The least that is tolerated of times and memory in both cases.
const OTHER_TIMES: f64 = 0.25;

/// What of the conditions is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    /// Nothing that matters.
    Nothing,
    /// The kernel of the outer machine, or the emulator.
    Outside,
    /// The guest's kernel, and perhaps the others.
    Guest,
}

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
            for what in holds(&programs)? {
                println!("TO DO: {what}");
            }
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
/// worse than it was. What is to be done about it otherwise is returned.
pub(crate) fn holds(programs: &Path) -> Result<Vec<String>> {
    let then = read(&path()).context("the baseline, which cargo xtask bench baseline writes")?;
    let now = measure(programs)?;
    if let Some(why) = incomparable(&then, &now) {
        bail!("the baseline cannot be compared with: {why}; {RENEW}");
    }
    for report in &now.reports {
        for outcome in &report.outcomes {
            for (figure, at) in report.rows() {
                println!("{}: {}", figure.name, table::cell(outcome, figure, at));
            }
            println!("{} outer machines stalled", outcome.stalls);
        }
    }
    for line in differences(&then, &now) {
        println!("not alike: {line}");
    }
    let changed = changed(&then.conditions, &now.conditions);
    let found = compare(&then, &now, &|figure| tolerance(figure, changed));
    ensure!(
        found.worse.is_empty(),
        "a boot became worse: {}{}; cargo xtask bench exits shows where, and if that is how it \
         is to be, {RENEW}",
        told(&found.worse),
        match changed {
            Changed::Nothing => "",
            _ => ", which may come of another kernel or emulator",
        }
    );
    Ok(to_do(changed, &found.better))
}

/// How the baseline comes to be what is measured now.
const RENEW: &str = "renew the baseline: cargo xtask bench baseline";

/// What is to be done though nothing is worse.
fn to_do(changed: Changed, better: &[Change]) -> Vec<String> {
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let loose = match changed {
        Changed::Nothing => None,
        Changed::Outside => Some(format!(
            "the outer kernel or the emulator is another one: exits to user space were held \
             within {}",
            percent(OTHER_KVM)
        )),
        Changed::Guest => Some(format!(
            "the guest's kernel is another one: exits and system calls were held within {}",
            percent(OTHER_GUEST)
        )),
    };
    let times = percent(OTHER_TIMES);
    let loose = loose.map(|what| format!("{RENEW} ({what}, times and memory within {times})"));
    // It could become worse again unseen.
    let better = (!better.is_empty()).then(|| format!("{RENEW} (better: {})", told(better)));
    loose.into_iter().chain(better).collect()
}

fn told(changes: &[Change]) -> String {
    let each = changes.iter();
    let each: Vec<String> = each
        .map(|one| format!("{}: {}", one.figure, one.what))
        .collect();
    each.join("; ")
}

fn path() -> PathBuf {
    workspace::root().join("benches/baseline/boot.json")
}

/// One boot of plinth: what is compared of it, and no more.
fn measure(programs: &Path) -> Result<Document> {
    let parts = Parts::get(Mode::Deterministic, Plinth::Development(programs))?;
    let bench = BootBench {
        testbed: parts.bare.clone(),
        view: View::Boot,
        memory_mib: 256,
        words: String::new(),
        traces: None,
    };
    let peer = Peer::named("plinth").context("plinth is a peer")?;
    let subject = (peer, parts.plinth.clone());
    let once = Rounds {
        warm_up: 0,
        counted: 1,
    };
    let mut report = carry_out(&bench, &[subject], once, &mut |_| ());
    if let Some(failed) = report.failed.first() {
        bail!("{}", failed.why);
    }
    let compared = |figure: &str| TOLERANCES.iter().any(|(name, _)| figure == *name);
    report.figures.retain(|figure| compared(&figure.name));
    for outcome in &mut report.outcomes {
        outcome.measured.retain(|one| compared(&one.figure));
        outcome.notes.clear();
        outcome.raw.clear();
    }
    Ok(Document {
        format: FORMAT,
        conditions: parts.conditions,
        reports: vec![report],
    })
}

fn changed(then: &Conditions, now: &Conditions) -> Changed {
    let outside = |one: &Conditions| (one.outer_kernel.clone(), release(one));
    if then.guest_kernel != now.guest_kernel {
        Changed::Guest
    } else if outside(then) != outside(now) {
        Changed::Outside
    } else {
        Changed::Nothing
    }
}

/// Of the emulator, its release: mended or not, it gave the same counts, and times
/// that were 0.3 % apart.
fn release(conditions: &Conditions) -> Option<String> {
    let emulator = conditions.emulator.as_ref()?;
    let end = emulator.find([',', '(']).unwrap_or(emulator.len());
    Some(emulator[..end].trim().to_owned())
}

fn tolerance(figure: &Figure, changed: Changed) -> f64 {
    let name = figure.name.as_str();
    let mut known = TOLERANCES.iter();
    let usual = known.find(|(known, _)| *known == name);
    let usual = usual.map_or(0.0, |(_, tolerance)| *tolerance);
    let least = match changed {
        Changed::Nothing => 0.0,
        _ if TIMES_AND_MEMORY.contains(&name) => OTHER_TIMES,
        // Of these the guest has no part.
        _ if name == "start-calls" => OTHER_KVM,
        Changed::Outside => OTHER_KVM,
        Changed::Guest => OTHER_GUEST,
    };
    usual.max(least)
}

#[cfg(test)]
mod tests {
    use benches::report::Unit;

    use super::*;

    fn tolerated(name: &str, changed: Changed) -> f64 {
        tolerance(&Figure::less(name, "", Unit::Count), changed)
    }

    #[test]
    fn counts_are_exact_with_the_same_kernels_and_never_loose_without_need() {
        assert!(tolerated("user-exits", Changed::Nothing) < 1e-9);
        for (name, usual) in TOLERANCES {
            let tolerated = |changed| tolerated(name, changed);
            assert!((tolerated(Changed::Nothing) - usual).abs() < 1e-9);
            assert!(tolerated(Changed::Outside) >= usual);
            assert!(tolerated(Changed::Guest) >= tolerated(Changed::Outside));
        }
        assert!(tolerated("user-exits", Changed::Outside) < 0.02);
        assert!(tolerated("start-calls", Changed::Guest) < 0.03);
        assert!(tolerated("user-exits", Changed::Guest) < 0.11);
        assert!(tolerated("init", Changed::Outside) > 0.2);
    }

    #[test]
    fn what_changed_is_known_from_the_conditions() {
        let conditions = |guest: &str, outer: &str, emulator: &str| Conditions {
            guest_kernel: guest.to_owned(),
            outer_kernel: Some(outer.to_owned()),
            emulator: Some(emulator.to_owned()),
            ..Conditions::default()
        };
        let then = conditions("6.1", "6.1", "QEMU 7, mended");
        for (now, expected) in [
            (conditions("6.1", "6.1", "QEMU 7, mended"), Changed::Nothing),
            (
                conditions("6.1", "6.1", "QEMU 7 (Debian), installed"),
                Changed::Nothing,
            ),
            (conditions("6.1", "6.2", "QEMU 7"), Changed::Outside),
            (conditions("6.1", "6.1", "QEMU 10"), Changed::Outside),
            (conditions("6.2", "6.2", "QEMU 7"), Changed::Guest),
        ] {
            assert_eq!(changed(&then, &now), expected);
        }
    }

    #[test]
    fn what_was_held_loosely_or_became_better_is_to_be_renewed() {
        assert_eq!(to_do(Changed::Nothing, &[]), [""; 0]);
        for changed in [Changed::Outside, Changed::Guest] {
            let said = to_do(changed, &[]);
            assert!(said[0].contains("cargo xtask bench baseline"), "{said:?}");
        }
        let better = Change {
            benchmark: "boot".to_owned(),
            peer: "plinth".to_owned(),
            figure: "user-exits".to_owned(),
            what: "415, and was 754".to_owned(),
        };
        let said = to_do(Changed::Nothing, &[better]);
        assert!(said[0].contains("user-exits: 415, and was 754"), "{said:?}");
    }

    #[test]
    fn the_baseline_that_is_kept_has_every_figure_that_is_compared() {
        let kept = read(&path()).unwrap();
        let outcome = &kept.reports[0].outcomes[0];
        for (name, _) in TOLERANCES {
            assert!(outcome.summary(name, None).is_some(), "{name}");
        }
        assert_eq!(outcome.measured.len(), TOLERANCES.len());
    }
}
