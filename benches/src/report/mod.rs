//! What comes of measuring: one type for every benchmark, which is the raw data
//! (JSON), and from which the [`table`] on the terminal and the [`page`] in HTML
//! are made, and a [`baseline`] is compared.

pub mod baseline;
mod conditions;
mod figure;
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
pub const FORMAT: u32 = 1;

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

    /// The best median of other monitors than the first, of which `plinth-volume` is
    /// none beside `plinth`.
    pub fn best_rival(&self, figure: &Figure, at: Option<u64>) -> Option<f64> {
        let medians = self
            .rivals()
            .filter_map(|rival| Some(rival.summary(&figure.name, at)?.median));
        medians.reduce(|one, other| figure.best(one, other))
    }

    /// By how much the first is ahead of the best rival, as a part of it.
    pub fn ahead(&self, figure: &Figure, at: Option<u64>) -> Option<f64> {
        let ours = self.outcomes.first()?.summary(&figure.name, at)?.median;
        Some(figure.ahead(ours, self.best_rival(figure, at)?))
    }

    /// Outcomes of other monitors than the first.
    fn rivals(&self) -> impl Iterator<Item = &Outcome> {
        let monitor = |outcome: &Outcome| Peer::named(&outcome.peer).map(|peer| peer.monitor);
        let ours = self.outcomes.first().and_then(monitor);
        let is_rival = move |one: &&Outcome| monitor(one) != ours;
        self.outcomes.iter().filter(is_rival)
    }

    /// The largest spread of any figure of any peer, with its peer and figure.
    pub fn largest_spread(&self) -> Option<(f64, &str, &str)> {
        let of = |outcome: &'_ Outcome| -> Vec<(f64, usize)> {
            let summaries = outcome.measured.iter().enumerate();
            let several = summaries.filter(|(_, one)| one.samples.len() > 1);
            several
                .filter_map(|(place, one)| Some((Summary::of(&one.samples)?.spread(), place)))
                .collect()
        };
        let all = self.outcomes.iter().flat_map(|outcome| {
            let named = move |(spread, place): (f64, usize)| {
                let figure = outcome.measured[place].figure.as_str();
                (spread, outcome.peer.as_str(), figure)
            };
            of(outcome).into_iter().map(named)
        });
        all.max_by(|one, other| one.0.total_cmp(&other.0))
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
            ..Report::default()
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
    fn raw_data_is_read_as_it_was_written() {
        let document = Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![report(&[("plinth", 40e6, [100.0, 300.0])])],
        };
        let text = serde_json::to_string(&document).unwrap();
        let read: Document = serde_json::from_str(&text).unwrap();
        assert_eq!(read, document);
    }
}
