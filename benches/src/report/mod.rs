//! What comes of measuring: one type for every benchmark, which is the raw data
//! (JSON), and from which the [`table`] on the terminal and the [`page`] in HTML
//! are made, and a [`baseline`] is compared if it can be, which [`likeness`] says.

pub mod baseline;
mod conditions;
mod figure;
mod harmless;
pub mod likeness;
mod outcome;
pub mod page;
mod plot;
mod statistics;
pub mod table;

use serde::{Deserialize, Serialize};

use crate::peer::Peer;

pub use conditions::{Conditions, Mode};
pub use figure::{Better, Figure, Unit};
pub use outcome::{Measured, Outcome};
pub use statistics::Summary;

/// The raw data's form. It changes when a reader of the last would misread it.
pub const FORMAT: u32 = 2;

/// All that one command measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// [`FORMAT`].
    pub format: u32,
    /// Where, how and with what.
    pub conditions: Conditions,
    /// One for each benchmark.
    pub reports: Vec<Report>,
}

/// What one benchmark found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The benchmark.
    pub benchmark: String,
    /// What it was told, and how it warms up, a line each.
    pub parameters: Vec<String>,
    /// What is measured, in the order in which it is shown.
    pub figures: Vec<Figure>,
    /// Of each peer that was measured, plinth first.
    pub outcomes: Vec<Outcome>,
    /// Peers whose program is not there.
    pub not_found: Vec<String>,
    /// Peers that failed, and why.
    pub failed: Vec<Failed>,
    /// How often everything was measured, where that can be chosen.
    pub rounds: Option<Rounds>,
    /// The first peer that was to be measured: it is compared with the best of the
    /// others, if it was.
    pub first: Option<String>,
}

/// How often everything is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    /// Rounds whose samples are kept and do not count.
    pub warm_up: u32,
    /// Rounds that count.
    pub counted: u32,
}

/// A peer that could not be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The peer.
    pub peer: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// What is compared in a row: each figure at each size at which it was
    /// measured, the sizes in order.
    pub fn rows(&self) -> Vec<(&Figure, Option<u64>)> {
        let mut rows = Vec::new();
        for figure in &self.figures {
            let all = self.outcomes.iter().flat_map(|outcome| &outcome.measured);
            let mut sizes: Vec<_> = all
                .filter(|one| one.figure == figure.name)
                .map(|one| one.at)
                .collect();
            sizes.sort_unstable();
            sizes.dedup();
            rows.extend(sizes.into_iter().map(|at| (figure, at)));
        }
        rows
    }

    /// By how much the first peer is ahead of the best of other monitors, of which
    /// `plinth-volume` is none beside `plinth`, as a part of that. `None` if one of
    /// both was not measured, or if there is no such part, for one of them is zero.
    pub fn ahead(&self, figure: &Figure, at: Option<u64>) -> Option<f64> {
        let (ours, best) = self.beside_the_best(figure, at)?;
        let ahead = figure.ahead(ours.median, best.median);
        ahead.is_finite().then_some(ahead)
    }

    /// Whether the first may as well be equal to the best of the others, as far as
    /// samples can tell that were measured in `mode`. Where instructions are counted
    /// and samples do not differ, two that are equal are so.
    pub fn undecided(&self, figure: &Figure, at: Option<u64>, mode: Mode) -> bool {
        let beside = self.beside_the_best(figure, at);
        beside.is_some_and(|(ours, best)| {
            let chance = mode == Mode::WallClock || ours.spread().max(best.spread()) > 0.0;
            chance && !ours.is_told_from(&best, mode)
        })
    }

    fn beside_the_best(&self, figure: &Figure, at: Option<u64>) -> Option<(Summary, Summary)> {
        let first = self.outcomes.first()?;
        // Who failed leaves the place to others.
        if self.first.as_ref() != Some(&first.peer) {
            return None;
        }
        let rivals = self.rivals(first);
        let summaries = rivals.filter_map(|rival| rival.summary(&figure.name, at));
        let best =
            summaries.reduce(
                |one, other| match figure.ahead(one.median, other.median) >= 0.0 {
                    true => one,
                    false => other,
                },
            )?;
        Some((first.summary(&figure.name, at)?, best))
    }

    /// Outcomes of other monitors than that of `first`.
    fn rivals(&self, first: &Outcome) -> impl Iterator<Item = &Outcome> {
        let monitor = |outcome: &Outcome| Peer::named(&outcome.peer).map(|peer| peer.monitor);
        let ours = monitor(first);
        let is_rival = move |one: &&Outcome| monitor(one) != ours;
        self.outcomes.iter().filter(is_rival)
    }

    /// What is to be said beneath its figures: who was not measured and why, what it
    /// was told, and how often.
    fn about(&self) -> Vec<String> {
        let absent = self.not_found.iter().map(|name| {
            let monitor = Peer::named(name).map_or(name.as_str(), |peer| peer.monitor);
            format!("{name}: not on PATH; name it with --program {monitor}=FILE")
        });
        let failed = self.failed.iter();
        let failed = failed.map(|failed| format!("failed: {}: {}", failed.peer, failed.why));
        let rounds = self.rounds.map(|rounds| {
            let Rounds { warm_up, counted } = rounds;
            format!("rounds: {counted}, after {warm_up} that warm up and do not count")
        });
        let told = self.parameters.iter().cloned();
        absent.chain(failed).chain(told).chain(rounds).collect()
    }

    /// The largest spread of any figure of any peer, with its peer and figure.
    pub fn largest_spread(&self) -> Option<(f64, &str, &str)> {
        self.largest(|samples| Some(Summary::of(samples)?.spread()))
    }

    /// The same between rounds: where one gives several samples, of different moments or
    /// of boots that differ, each is compared with those in its place in other rounds.
    pub fn largest_spread_of_rounds(&self) -> Option<(f64, &str, &str)> {
        let rounds = self.rounds?.counted as usize;
        if rounds < 2 {
            return None;
        }
        self.largest(|samples| {
            let each = samples.len() / rounds;
            let places = (0..each).filter_map(|place| {
                let same: Vec<f64> = samples.iter().skip(place).step_by(each).copied().collect();
                Some(Summary::of(&same)?.spread())
            });
            places.max_by(f64::total_cmp)
        })
    }

    fn largest(&self, spread: impl Fn(&[f64]) -> Option<f64>) -> Option<(f64, &str, &str)> {
        let all = self.outcomes.iter().flat_map(|outcome| {
            let measured = outcome.measured.iter();
            measured.map(move |one| (outcome.peer.as_str(), one))
        });
        let several = all.filter(|(_, one)| one.samples.len() > 1);
        let spreads = several
            .filter_map(|(peer, one)| Some((spread(&one.samples)?, peer, one.figure.as_str())));
        spreads.max_by(|one, other| one.0.total_cmp(&other.0))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of figures `time` and `rate`, the rate at sizes 1 and 10.
    pub(crate) fn report(peers: &[(&str, f64, [f64; 2])]) -> Report {
        let outcome = |(peer, time, rates): &(&str, f64, [f64; 2])| {
            let mut outcome = Outcome {
                peer: (*peer).to_owned(),
                ..Outcome::default()
            };
            outcome.add("time", None, *time);
            outcome.add("time", None, *time);
            outcome.add("rate", Some(10), rates[1]);
            outcome.add("rate", Some(1), rates[0]);
            outcome
        };
        Report {
            benchmark: "test".to_owned(),
            figures: vec![
                Figure::less("time", "a time", Unit::Nanoseconds),
                Figure::more("rate", "a rate", Unit::PerSecond).over("VMs"),
            ],
            outcomes: peers.iter().map(outcome).collect(),
            first: peers.first().map(|(peer, ..)| (*peer).to_owned()),
            ..Report::default()
        }
    }

    /// The document of such a report alone.
    pub(crate) fn document(peers: &[(&str, f64, [f64; 2])]) -> Document {
        Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![report(peers)],
        }
    }

    #[test]
    fn the_first_is_compared_with_the_best_that_is_not_its_own() {
        let report = report(&[
            ("plinth", 40e6, [100.0, 300.0]),
            ("plinth-mmio", 1e6, [900.0, 900.0]),
            ("qemu-q35", 60e6, [80.0, 400.0]),
            ("kvmtool", 50e6, [60.0, 200.0]),
        ]);
        let rows = report.rows();
        let sizes: Vec<_> = rows.iter().map(|(_, at)| *at).collect();
        assert_eq!(sizes, [None, Some(1), Some(10)]);
        let ahead: Vec<f64> = rows
            .iter()
            .map(|(figure, at)| report.ahead(figure, *at).unwrap())
            .collect();
        for (ahead, expected) in ahead.iter().zip([0.25, 0.25, -0.25]) {
            assert!((ahead - expected).abs() < 1e-9, "{ahead}");
        }
        let alone = Report {
            outcomes: report.outcomes[..2].to_vec(),
            ..report.clone()
        };
        assert_eq!(alone.ahead(rows[0].0, None), None);
    }

    #[test]
    fn who_stepped_in_for_the_first_is_compared_with_nobody() {
        let mut report = report(&[
            ("plinth", 40e6, [1.0, 1.0]),
            ("qemu-q35", 60e6, [1.0, 1.0]),
            ("kvmtool", 50e6, [1.0, 1.0]),
        ]);
        let time = report.figures[0].clone();
        assert!(report.ahead(&time, None).is_some());
        report.outcomes.remove(0);
        assert_eq!(report.ahead(&time, None), None);
    }

    #[test]
    fn who_is_ahead_is_undecided_where_intervals_meet() {
        let mut report = report(&[("plinth", 40e6, [1.0, 1.0]), ("kvmtool", 50e6, [1.0, 1.0])]);
        let time = report.figures[0].clone();
        assert!(!report.undecided(&time, None, Mode::Deterministic));
        report.outcomes[0].add("time", None, 60e6);
        assert!(report.undecided(&time, None, Mode::Deterministic));
        // No sample differs: they are as they are, but by the clock.
        let rate = report.figures[1].clone();
        assert!(!report.undecided(&rate, Some(1), Mode::Deterministic));
        assert!(report.undecided(&rate, Some(1), Mode::WallClock));
    }

    #[test]
    fn there_is_no_part_of_nothing() {
        let mut report = report(&[("plinth", 1.0, [0.0, 0.0]), ("kvmtool", 0.0, [1.0, 0.0])]);
        let (time, rate) = (report.figures[0].clone(), report.figures[1].clone());
        assert_eq!(report.ahead(&time, None), Some(-1.0));
        assert_eq!(report.ahead(&rate, Some(1)), Some(-1.0));
        assert_eq!(report.ahead(&rate, Some(10)), None);
        report.outcomes.swap(0, 1);
        report.first = Some("kvmtool".to_owned());
        assert_eq!(report.ahead(&time, None), None);
    }

    #[test]
    fn what_is_missing_is_named_as_the_command_line_takes_it() {
        let report = Report {
            not_found: vec!["qemu-microvm".to_owned()],
            ..Report::default()
        };
        let about = report.about();
        assert!(about[0].contains("--program qemu=FILE"), "{about:?}");
    }

    #[test]
    fn raw_data_is_read_as_it_was_written() {
        let document = document(&[("plinth", 40e6, [100.0, 300.0])]);
        let text = serde_json::to_string(&document).unwrap();
        let read: Document = serde_json::from_str(&text).unwrap();
        assert_eq!(read, document);
    }
}
