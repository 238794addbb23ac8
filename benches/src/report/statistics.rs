//! Many samples in a few figures, and how sure one can be of the middle one.

use super::Mode;

/// Of samples, in their unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The one in the middle, or between the two in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
    /// Where the true median is with a confidence of 95 %, if there are samples
    /// enough to say: six at least.
    pub interval: Option<(f64, f64)>,
}

/// How often an interval may miss the true median.
const DOUBT: f64 = 0.05;

/// From so many samples on, the binomial distribution is the normal one: below,
/// the two differ by a rank, and far above, 0.5ⁿ is too small for a number.
const MANY: usize = 1000;

impl Summary {
    /// `None` if there are no samples.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        let interval = outside(count).map(|k| (sorted[k], sorted[count - 1 - k]));
        Some(Self {
            count,
            min,
            median,
            max,
            interval,
        })
    }

    /// The interval, or where there are too few samples for one, all of them.
    pub fn range(&self) -> (f64, f64) {
        self.interval.unwrap_or((self.min, self.max))
    }

    /// Whether the two ranges have nothing in common.
    fn is_apart_from(&self, other: &Self) -> bool {
        let ((low, high), (other_low, other_high)) = (self.range(), other.range());
        high < other_low || other_high < low
    }

    /// Whether their samples tell this from `other`, both measured in `mode`: by the
    /// clock, only intervals say what is not chance.
    pub fn is_told_from(&self, other: &Self, mode: Mode) -> bool {
        let known = match mode {
            Mode::Deterministic => true,
            Mode::WallClock => self.interval.and(other.interval).is_some(),
        };
        known && self.is_apart_from(other)
    }

    /// How far the samples are apart, as a part of the median, or of the largest
    /// where that is nothing.
    pub fn spread(&self) -> f64 {
        let of = match self.median.abs() {
            0.0 => self.max.abs().max(self.min.abs()),
            median => median,
        };
        match self.max - self.min {
            0.0 => 0.0,
            apart => apart / of,
        }
    }
}

/// How many samples at each end of `count` sorted ones are outside of the
/// median's interval. How many samples are below the true median is binomial,
/// whatever they are distributed like (Conover, Practical Nonparametric
/// Statistics, §3.2): the interval is from one rank to its mirror image, as
/// narrow as it may be.
fn outside(count: usize) -> Option<usize> {
    if count > MANY {
        // Half of n - 1.96 √n, rounded down; 1.96 is where the normal distribution
        // leaves 2.5 % at each end.
        let within = (count * 38_416 / 10_000).isqrt() + 1;
        return Some((count - within) / 2 - 1);
    }
    // P(at most k of them are below), for k = 0, 1, …, added up.
    #[allow(clippy::cast_precision_loss)] // Nobody has 2⁵² samples.
    let n = count as f64;
    let mut term = 0.5_f64.powf(n);
    let (mut below, mut found) = (0.0, None);
    for k in 0..count / 2 {
        below += term;
        if 2.0 * below > DOUBT {
            break;
        }
        found = Some(k);
        #[allow(clippy::cast_precision_loss)]
        let k = k as f64;
        term *= (n - k) / (k + 1.0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u32) -> Summary {
        let samples: Vec<f64> = (1..=count).rev().map(f64::from).collect();
        Summary::of(&samples).unwrap()
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((of(5).median - 3.0).abs() < 1e-9);
        assert!((of(4).median - 2.5).abs() < 1e-9);
        assert!((of(5).spread() - 4.0 / 3.0).abs() < 1e-9);
        assert!(Summary::of(&[7.0, 7.0]).unwrap().spread() < 1e-9);
        assert_eq!(Summary::of(&[]), None);
        assert!((Summary::of(&[0.0, 0.0, 2.0]).unwrap().spread() - 1.0).abs() < 1e-9);
        let range = |samples: &[f64]| Summary::of(samples).unwrap();
        assert!(range(&[1.0, 2.0]).is_apart_from(&range(&[3.0])));
        assert!(!range(&[1.0, 3.0]).is_apart_from(&range(&[3.0, 4.0])));
    }

    #[test]
    fn by_the_clock_it_takes_six_samples_to_tell_two_from_each_other() {
        let told = |count: usize, mode| {
            let of = |sample: f64| Summary::of(&vec![sample; count]).unwrap();
            of(100.0).is_told_from(&of(103.0), mode)
        };
        assert!(!told(1, Mode::WallClock) && !told(5, Mode::WallClock));
        assert!(told(6, Mode::WallClock));
        assert!(told(1, Mode::Deterministic));
    }

    /// As in tables of the sign test's critical values at 5 %, both sides.
    #[test]
    fn intervals_are_those_of_the_tables() {
        for (count, rank) in [(6, 0), (8, 0), (9, 1), (10, 1), (15, 3), (20, 5), (40, 13)] {
            assert_eq!(outside(count), Some(rank), "{count}");
        }
        for few in 0..6 {
            assert_eq!(outside(few), None, "{few}");
        }
        // Of more than are in tables: added up exactly.
        for (count, rank) in [(1000, 468), (1001, 468), (1075, 504), (2000, 955)] {
            assert_eq!(outside(count), Some(rank), "{count}");
        }
        assert_eq!(of(20).interval, Some((6.0, 15.0)));
        assert_eq!(of(5).interval, None);
    }

    /// Draws from a lopsided distribution whose median is known.
    #[test]
    fn nineteen_of_twenty_intervals_hold_the_true_median() {
        let mut state = 1_u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let uniform = f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX);
            -(1.0 - uniform).max(1e-12).ln()
        };
        let rounds = 2000;
        let holds = |_: &u32| {
            let samples: Vec<f64> = (0..15).map(|_| draw()).collect();
            let (low, high) = Summary::of(&samples).unwrap().interval.unwrap();
            (low..=high).contains(&std::f64::consts::LN_2)
        };
        let held = (0..rounds).filter(holds).count();
        assert!((1900..=1980).contains(&held), "{held} of {rounds}");
    }
}
