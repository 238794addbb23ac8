//! Many samples in a few figures.

/// Of samples, in their unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// The smallest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The average.
    pub mean: f64,
    /// All but one in a hundred are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Figures {
    /// Of `samples` in thousandths of the unit; `None` if there are none.
    pub fn of_thousandths(samples: &[u64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let count = sorted.len();
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        #[allow(clippy::cast_precision_loss)] // They are far below 2⁵².
        let unit = |thousandths: u64| thousandths as f64 / 1000.0;
        // The nearest rank: no figure is one that was not measured.
        let rank = |percent: usize| sorted[(count * percent).div_ceil(100).max(1) - 1];
        #[allow(clippy::cast_precision_loss)]
        let mean = unit(sorted.iter().sum()) / count as f64;
        Some(Self {
            min: unit(first),
            median: unit(rank(50)),
            mean,
            p99: unit(rank(99)),
            max: unit(last),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_among_the_samples_but_for_the_mean() {
        let samples: Vec<u64> = (1..=200).rev().map(|n| n * 1000).collect();
        let figures = Figures::of_thousandths(&samples).unwrap();
        let expected = Figures {
            min: 1.0,
            median: 100.0,
            mean: 100.5,
            p99: 198.0,
            max: 200.0,
        };
        assert_eq!(figures, expected);
        let one = Figures::of_thousandths(&[500]).unwrap();
        assert_eq!(
            (one.min, one.median, one.p99, one.max),
            (0.5, 0.5, 0.5, 0.5)
        );
        assert_eq!(Figures::of_thousandths(&[]), None);
    }
}
