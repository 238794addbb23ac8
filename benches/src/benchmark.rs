//! What every benchmark is, and how one is carried out: all peers, round by round.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::peer::{Aspect, Peer};
use crate::report::{Failed, Figure, Outcome, Report};

pub use crate::report::Rounds;

/// Something that peers are measured by.
pub trait Benchmark {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// What is measured, by which it is known which machines of a monitor to take.
    fn aspect(&self) -> Aspect;

    /// The figures, in the order in which they are shown; `outcomes` may have some
    /// that were not known before.
    fn figures(&self, outcomes: &[Outcome]) -> Vec<Figure>;

    /// What it was told, and how it warms up, a line each.
    fn parameters(&self) -> Vec<String>;

    /// Measures `peer` once, whose program is `program`.
    ///
    /// # Errors
    /// The peer or its machine failed.
    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome>;
}

/// A peer to be measured, and its program if it was found.
pub type Subject = (&'static Peer, Option<PathBuf>);

/// Carries `benchmark` out: in each round every peer once, each round beginning with
/// the next of them, so that neither what drifts meanwhile on a host nor what the
/// peer before leaves there favours anybody. A peer that fails is said, does not stop
/// the others, and is measured no more.
pub fn carry_out(
    benchmark: &dyn Benchmark,
    subjects: &[Subject],
    rounds: Rounds,
    say: &mut dyn FnMut(&str),
) -> Report {
    let mut report = Report {
        benchmark: benchmark.name().to_owned(),
        parameters: benchmark.parameters(),
        rounds: Some(rounds),
        first: subjects.first().map(|(peer, _)| peer.name.to_owned()),
        ..Report::default()
    };
    let mut runners: Vec<(&Peer, &Path, Option<Outcome>)> = Vec::new();
    for (peer, program) in subjects {
        match program {
            Some(program) => runners.push((peer, program, None)),
            None => report.not_found.push(peer.name.to_owned()),
        }
    }
    for round in 0..rounds.warm_up + rounds.counted {
        for place in order(runners.len(), round) {
            let (peer, program, so_far) = &mut runners[place];
            if report.failed.iter().any(|failed| failed.peer == peer.name) {
                continue;
            }
            say(&format!("{}: measuring {}", benchmark.name(), peer.name));
            match benchmark.measure(peer, program) {
                Ok(mut outcome) => {
                    if round < rounds.warm_up {
                        outcome = outcome.warming_up();
                    }
                    match so_far {
                        Some(so_far) => so_far.merge(outcome),
                        None => *so_far = Some(outcome),
                    }
                }
                Err(error) => report.failed.push(Failed {
                    peer: peer.name.to_owned(),
                    why: format!("{error:#}"),
                }),
            }
        }
    }
    // What a peer did before it failed is kept.
    let outcomes = runners.into_iter().filter_map(|(.., outcome)| outcome);
    report.outcomes = outcomes.collect();
    report.figures = benchmark.figures(&report.outcomes);
    report
}

/// Who comes when in a round of `count`.
fn order(count: usize, round: u32) -> impl Iterator<Item = usize> {
    let first = round as usize;
    (0..count).map(move |place| (first + place) % count)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::bail;

    use super::*;
    use crate::report::Unit;

    /// Gives each peer the number of its run, and has one fail at its second.
    struct Fake {
        runs: RefCell<Vec<&'static str>>,
        fails: &'static str,
    }

    impl Benchmark for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn aspect(&self) -> Aspect {
            Aspect::Machine
        }

        fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
            vec![Figure::less("time", "a time", Unit::Nanoseconds)]
        }

        fn parameters(&self) -> Vec<String> {
            vec!["a parameter".to_owned()]
        }

        fn measure(&self, peer: &Peer, _: &Path) -> Result<Outcome> {
            let mut runs = self.runs.borrow_mut();
            runs.push(peer.name);
            let count = runs.iter().filter(|name| **name == peer.name).count();
            if peer.name == self.fails && count == 2 {
                bail!("it broke");
            }
            let mut outcome = Outcome {
                peer: peer.name.to_owned(),
                stalls: 1,
                ..Outcome::default()
            };
            #[allow(clippy::cast_precision_loss)]
            outcome.add("time", None, count as f64);
            Ok(outcome)
        }
    }

    fn subjects(names: &[&str]) -> Vec<Subject> {
        let subject = |name: &&str| (Peer::named(name).unwrap(), Some(PathBuf::from("/x")));
        names.iter().map(subject).collect()
    }

    fn run(fails: &'static str, rounds: Rounds) -> (Report, Vec<&'static str>) {
        let fake = Fake {
            runs: RefCell::default(),
            fails,
        };
        let mut subjects = subjects(&["plinth", "qemu-q35", "kvmtool"]);
        subjects.push((Peer::named("crosvm").unwrap(), None));
        let report = carry_out(&fake, &subjects, rounds, &mut |_| ());
        (report, fake.runs.into_inner())
    }

    #[test]
    fn each_round_begins_with_the_next_peer() {
        let rounds = Rounds {
            warm_up: 1,
            counted: 2,
        };
        let (report, runs) = run("nobody", rounds);
        let turns = [
            ["plinth", "qemu-q35", "kvmtool"],
            ["qemu-q35", "kvmtool", "plinth"],
            ["kvmtool", "plinth", "qemu-q35"],
        ];
        assert_eq!(runs, turns.concat());
        assert_eq!(report.first.as_deref(), Some("plinth"));
        assert_eq!(report.rounds, Some(rounds));
        assert_eq!(report.not_found, ["crosvm"]);
        for outcome in &report.outcomes {
            assert_eq!(outcome.measured[0].samples, [2.0, 3.0]);
            assert_eq!(outcome.warm_up[0].samples, [1.0]);
            assert_eq!(outcome.stalls, 3, "those of the warm-up count");
        }
    }

    #[test]
    fn who_fails_is_said_and_measured_no_more_and_keeps_its_samples() {
        let rounds = Rounds {
            warm_up: 0,
            counted: 3,
        };
        let (report, runs) = run("qemu-q35", rounds);
        assert_eq!(runs.iter().filter(|name| **name == "qemu-q35").count(), 2);
        assert_eq!(report.failed.len(), 1);
        assert!(report.failed[0].why.contains("it broke"));
        let counts: Vec<usize> = report
            .outcomes
            .iter()
            .map(|outcome| outcome.measured[0].samples.len())
            .collect();
        assert_eq!(counts, [3, 1, 3]);
    }
}
