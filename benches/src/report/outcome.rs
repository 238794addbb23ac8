//! What was found of one peer.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::statistics::Summary;
use crate::peer::{self, Peer};

/// What was found of one peer.
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
        for one in other.measured {
            for sample in one.samples {
                self.add(&one.figure, one.at, sample);
            }
        }
        self.warm_up.extend(other.warm_up);
        self.stalls += other.stalls;
        self.failures.extend(other.failures);
        self.raw.extend(other.raw);
        // Notes are about the last run.
        self.notes = other.notes;
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
        let place = self.position(figure, at)?;
        Summary::of(&self.measured[place].samples)
    }

    fn position(&self, figure: &str, at: Option<u64>) -> Option<usize> {
        let is_it = |one: &Measured| one.figure == figure && one.at == at;
        self.measured.iter().position(is_it)
    }
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
}
