//! What was found of one peer.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::statistics::Summary;
use crate::peer::{self, Peer};

/// What was found of one peer.
///
/// What is counted by name has a figure of its sum, `exits`, and one of each name,
/// `exits/io`; of a name that is not there, none was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The peer.
    pub peer: String,
    /// As it says itself.
    pub version: String,
    /// What was set and why.
    pub settings: String,
    /// The guest's kernel command line, but for what its init is told.
    pub command_line: String,
    /// All that was measured.
    pub measured: Vec<Measured>,
    /// The same of rounds that warm up: kept, and not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm_up: Vec<Measured>,
    /// Machines that stalled and were tried again.
    pub stalls: u32,
    /// What of it could not be measured, and why, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// What else is to be said, a line each.
    pub notes: Vec<String>,
    /// What each run told, as it told it.
    pub raw: Vec<Value>,
    /// The same of rounds that warm up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw_warm_up: Vec<Value>,
}

/// A figure of one peer, at one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The figure's name.
    pub figure: String,
    /// The size that it was measured at, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Every sample, in order; none is dropped.
    pub samples: Vec<f64>,
}

impl Outcome {
    /// Nothing yet of `peer`, whose program is `program`.
    pub(crate) fn of(peer: &Peer, program: &Path, command_line: String) -> Self {
        Self {
            peer: peer.name.to_owned(),
            version: peer::version(program),
            settings: peer.settings.to_owned(),
            command_line,
            ..Self::default()
        }
    }

    /// Adds another run of the same peer.
    pub(crate) fn merge(&mut self, other: Self) {
        join(&mut self.measured, other.measured);
        join(&mut self.warm_up, other.warm_up);
        self.stalls += other.stalls;
        self.failures.extend(other.failures);
        self.raw.extend(other.raw);
        self.raw_warm_up.extend(other.raw_warm_up);
        // Notes are about the last run.
        self.notes = other.notes;
    }

    /// The same, of a run that warms up.
    #[must_use]
    pub(crate) fn warming_up(mut self) -> Self {
        join(&mut self.warm_up, std::mem::take(&mut self.measured));
        self.raw_warm_up.append(&mut self.raw);
        self
    }

    /// Adds a sample of a figure.
    pub fn add(&mut self, figure: &str, at: Option<u64>, sample: f64) {
        match self.position(figure, at) {
            Some(place) => self.measured[place].samples.push(sample),
            None => self.measured.push(Measured {
                figure: figure.to_owned(),
                at,
                samples: vec![sample],
            }),
        }
    }

    /// The samples of a figure in short, if it was measured.
    pub fn summary(&self, figure: &str, at: Option<u64>) -> Option<Summary> {
        match self.position(figure, at) {
            Some(place) => Summary::of(&self.measured[place].samples),
            None => Summary::of(&none(&self.measured, figure, at)?),
        }
    }

    fn position(&self, figure: &str, at: Option<u64>) -> Option<usize> {
        position(&self.measured, figure, at)
    }
}

/// Adds what one more run measured.
fn join(all: &mut Vec<Measured>, mut run: Vec<Measured>) {
    let (before, now) = (missing(all, &run), missing(&run, all));
    all.extend(before);
    run.extend(now);
    for one in run {
        match position(all, &one.figure, one.at) {
            Some(place) => all[place].samples.extend(one.samples),
            None => all.push(one),
        }
    }
}

/// What `other` counted by name, and `measured` counted none of.
fn missing(measured: &[Measured], other: &[Measured]) -> Vec<Measured> {
    let absent = other
        .iter()
        .filter(|one| position(measured, &one.figure, one.at).is_none());
    let zeroes = absent.filter_map(|one| {
        Some(Measured {
            samples: none(measured, &one.figure, one.at)?,
            ..one.clone()
        })
    });
    zeroes.collect()
}

/// A zero for each sample of the sum that `figure`, which is not there, is counted
/// in, if it is counted by name and its sum is there.
fn none(measured: &[Measured], figure: &str, at: Option<u64>) -> Option<Vec<f64>> {
    let (sum, _) = figure.split_once('/')?;
    let place = position(measured, sum, at)?;
    Some(vec![0.0; measured[place].samples.len()])
}

fn position(measured: &[Measured], figure: &str, at: Option<u64>) -> Option<usize> {
    let is_it = |one: &Measured| one.figure == figure && one.at == at;
    measured.iter().position(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_figure_at_one_size_are_kept_together() {
        let mut outcome = Outcome::default();
        outcome.add("init", None, 3.0);
        outcome.add("rate", Some(10), 7.0);
        outcome.add("init", None, 1.0);
        outcome.add("rate", Some(50), 9.0);
        assert_eq!(outcome.measured.len(), 3);
        assert_eq!(outcome.measured[0].samples, [3.0, 1.0]);
        let summary = outcome.summary("rate", Some(50)).unwrap();
        assert!((summary.median - 9.0).abs() < 1e-9);
        assert_eq!(outcome.summary("rate", None), None);
    }

    fn run(figures: &[(&str, f64)]) -> Outcome {
        let mut outcome = Outcome::default();
        for (figure, sample) in figures {
            outcome.add(figure, None, *sample);
        }
        outcome
    }

    #[test]
    fn what_a_run_has_none_of_is_a_sample_of_zero() {
        let mut outcome = run(&[("calls", 5.0), ("calls/read", 2.0), ("calls/tgkill", 3.0)]);
        outcome.merge(run(&[
            ("calls", 3.0),
            ("calls/read", 2.0),
            ("calls/futex", 1.0),
        ]));
        let samples = |figure| {
            let place = outcome.position(figure, None).unwrap();
            outcome.measured[place].samples.clone()
        };
        assert_eq!(samples("calls/read"), [2.0, 2.0]);
        assert_eq!(samples("calls/tgkill"), [3.0, 0.0]);
        assert_eq!(samples("calls/futex"), [0.0, 1.0]);
        let preadv = outcome.summary("calls/preadv", None).unwrap();
        assert_eq!((preadv.count, preadv.max), (2, 0.0));
        assert_eq!(outcome.summary("exits/io", None), None, "none were counted");
    }

    #[test]
    fn runs_that_warm_up_are_kept_apart_whole() {
        let with_raw = |sample: f64| Outcome {
            raw: vec![Value::from(sample)],
            ..run(&[("init", sample)])
        };
        let mut outcome = with_raw(1.0).warming_up();
        outcome.merge(with_raw(2.0).warming_up());
        outcome.merge(with_raw(3.0));
        assert_eq!(outcome.warm_up.len(), 1);
        assert_eq!(outcome.warm_up[0].samples, [1.0, 2.0]);
        assert_eq!(outcome.measured[0].samples, [3.0]);
        assert_eq!((outcome.raw_warm_up.len(), outcome.raw.len()), (2, 1));
    }
}
