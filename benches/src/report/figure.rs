//! What is measured: a name, a unit, and which way is better.

use serde::{Deserialize, Serialize};

/// A figure that each peer is measured by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is called in raw data and in baselines; once in a report.
    pub name: String,
    /// For people.
    pub title: String,
    /// The unit of its samples.
    pub unit: Unit,
    /// Which of two is the better one.
    pub better: Better,
    /// What is varied, where it is measured at several sizes: "VMs", for instance.
    pub over: Option<String>,
}

/// The unit of samples, as raw data has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds; where time is counted in instructions, instructions.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// How many.
    #[serde(rename = "1")]
    Count,
    /// Of memory.
    #[serde(rename = "KiB")]
    Kibibytes,
    /// How many in a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Of data.
    #[serde(rename = "B/s")]
    BytesPerSecond,
    /// A part of a whole, for instance of what was expected.
    #[serde(rename = "part")]
    Part,
    /// Of what is on a wire.
    #[serde(rename = "bit/s")]
    BitsPerSecond,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Times and costs.
    Less,
    /// Rates.
    More,
}

impl Figure {
    /// Of which less is better.
    pub fn less(name: &str, title: &str, unit: Unit) -> Self {
        Self::new(name, title, unit, Better::Less)
    }

    /// Of which more is better.
    pub fn more(name: &str, title: &str, unit: Unit) -> Self {
        Self::new(name, title, unit, Better::More)
    }

    fn new(name: &str, title: &str, unit: Unit, better: Better) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            unit,
            better,
            over: None,
        }
    }

    /// What became of it, for people: both values, and by how much it changed.
    pub fn change(&self, before: f64, after: f64) -> String {
        let both = format!(
            "{}, and was {}",
            self.unit.shown(after),
            self.unit.shown(before)
        );
        let percent = |part: f64| part * 100.0;
        match (self.unit, before) {
            (Unit::Part, _) => {
                let further = percent(after.abs() - before.abs());
                format!("{both}: {further:+.2} percentage points")
            }
            // Nothing has no part.
            (_, 0.0) => both,
            _ => format!("{both}: {:+.2} %", percent((after - before) / before.abs())),
        }
    }

    /// The same, measured at several sizes of what `over` says.
    #[must_use]
    pub fn over(mut self, over: &str) -> Self {
        self.over = Some(over.to_owned());
        self
    }

    /// What it is called by itself at one size: titles may go on from the row above.
    pub(super) fn named(&self, at: Option<u64>) -> String {
        match (at, &self.over) {
            (Some(at), Some(over)) => format!("{} at {at} {over}", self.name),
            _ => self.name.clone(),
        }
    }

    /// By how much `ours` is better than `theirs`, as a part of it; negative if it
    /// is worse.
    pub fn ahead(&self, ours: f64, theirs: f64) -> f64 {
        match self.better {
            Better::Less => theirs / ours - 1.0,
            Better::More => ours / theirs - 1.0,
        }
    }

    /// By how much `after` is better than `before`, as a part of `before`; negative
    /// if it is worse. What is a part of something already is compared as it is.
    pub fn gain(&self, before: f64, after: f64) -> f64 {
        if self.unit == Unit::Part {
            return before.abs() - after.abs();
        }
        // Nothing, where there was nothing, is no change.
        let change = match after - before {
            0.0 => 0.0,
            difference => difference / before.abs(),
        };
        match self.better {
            Better::Less => -change,
            Better::More => change,
        }
    }
}

impl Unit {
    /// `value` for people, in the multiple that suits it.
    pub fn shown(self, value: f64) -> String {
        let size = value.abs();
        match self {
            Self::Nanoseconds if size >= 1e10 => format!("{:.2} s", value / 1e9),
            Self::Nanoseconds if size >= 1e6 => format!("{:.2} ms", value / 1e6),
            Self::Nanoseconds => format!("{:.1} µs", value / 1e3),
            Self::Count => format!("{value:.0}"),
            Self::Kibibytes => format!("{:.2} MiB", value / 1024.0),
            Self::PerSecond if size < 1000.0 => format!("{value:.2}/s"),
            Self::PerSecond if size < 10_000.0 => format!("{value:.1}/s"),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Part => format!("{:+.3} %", value * 100.0),
            Self::BytesPerSecond => format!("{:.0} MiB/s", value / f64::from(1 << 20)),
            Self::BitsPerSecond => format!("{:.2} Gbit/s", value / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ahead_is_positive_whichever_way_is_better() {
        let time = Figure::less("t", "time", Unit::Nanoseconds);
        let rate = Figure::more("r", "rate", Unit::PerSecond);
        assert!((time.ahead(40.0, 50.0) - 0.25).abs() < 1e-9);
        assert!((rate.ahead(5.0, 4.0) - 0.25).abs() < 1e-9);
        assert!(time.ahead(50.0, 40.0) < 0.0 && rate.ahead(4.0, 5.0) < 0.0);
    }

    #[test]
    fn a_change_is_told_in_its_own_terms() {
        let error = Figure::less("e", "missed by", Unit::Part);
        let expected = "+1.100 %, and was +0.160 %: +0.94 percentage points";
        assert_eq!(error.change(0.0016, 0.011), expected);
        let calls = Figure::less("c", "calls", Unit::Count);
        assert_eq!(calls.change(0.0, 22.0), "22, and was 0");
        assert_eq!(calls.change(20.0, 22.0), "22, and was 20: +10.00 %");
    }

    #[test]
    fn a_part_is_compared_by_how_far_it_is_from_zero() {
        let error = Figure::less("e", "missed by", Unit::Part);
        assert!((error.gain(0.001, -0.004) + 0.003).abs() < 1e-9);
        let time = Figure::less("t", "time", Unit::Nanoseconds);
        assert!((time.gain(100.0, 104.0) + 0.04).abs() < 1e-9);
        assert!(time.gain(0.0, 0.0).abs() < 1e-9);
    }

    #[test]
    fn people_see_multiples() {
        let shown = [
            Unit::Nanoseconds.shown(32_104_000.0),
            Unit::Nanoseconds.shown(65_230.0),
            Unit::Nanoseconds.shown(12.5e9),
            Unit::Kibibytes.shown(2662.0),
            Unit::PerSecond.shown(24_676.4),
            Unit::PerSecond.shown(1.5),
            Unit::PerSecond.shown(3002.84),
            Unit::BytesPerSecond.shown(1_048_576.0 * 2514.0),
            Unit::BitsPerSecond.shown(4.87e9),
            Unit::Count.shown(3022.0),
            Unit::Part.shown(0.0016),
        ];
        let expected = [
            "32.10 ms",
            "65.2 µs",
            "12.50 s",
            "2.60 MiB",
            "24676/s",
            "1.50/s",
            "3002.8/s",
            "2514 MiB/s",
            "4.87 Gbit/s",
            "3022",
            "+0.160 %",
        ];
        assert_eq!(shown, expected);
    }
}
