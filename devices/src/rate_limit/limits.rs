//! Limits that are valid by construction, for whoever parses them.

/// The highest rate: 100 GB, or as many operations, in a second.
const MAX_RATE: u64 = 100_000_000_000;

/// The largest burst: a petabyte, or as many operations.
const MAX_BURST: u64 = 1_000_000_000_000_000;

/// A burst that is not given is what the rate gives in this part of a second.
const DEFAULT_BURST: u64 = 100;

/// A number that cannot be a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLimit {
    /// Nothing would ever pass.
    #[error("a rate of 0 would let nothing pass; for no limit, leave it out")]
    ZeroRate,
    /// Nothing is that fast.
    #[error("a rate of {0} in a second is out of reach; at most {MAX_RATE}, or leave it out")]
    HugeRate(u64),
    /// Nothing would ever pass.
    #[error("a burst of 0 would let nothing pass; leave it out for 10 ms of the rate")]
    ZeroBurst,
    /// That is not a burst any more.
    #[error("a burst of {0} is out of reach; at most {MAX_BURST}, or leave the limit out")]
    HugeBurst(u64),
}

/// How much may pass: `rate` in a second, and `burst` at once after a rest.
/// In operations (packets, for a network interface) or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    rate: u64,
    burst: u64,
}

impl Limit {
    /// `rate` in a second, with a burst of 10 ms of it, at least 1.
    ///
    /// # Errors
    /// The rate is 0 or above 10¹¹.
    pub fn per_second(rate: u64) -> Result<Self, BadLimit> {
        match rate {
            0 => Err(BadLimit::ZeroRate),
            1..=MAX_RATE => Ok(Self {
                rate,
                burst: (rate / DEFAULT_BURST).max(1),
            }),
            _ => Err(BadLimit::HugeRate(rate)),
        }
    }

    /// The same rate with a burst of `burst`.
    ///
    /// # Errors
    /// The burst is 0 or above 10¹⁵.
    pub fn with_burst(self, burst: u64) -> Result<Self, BadLimit> {
        match burst {
            0 => Err(BadLimit::ZeroBurst),
            1..=MAX_BURST => Ok(Self { burst, ..self }),
            _ => Err(BadLimit::HugeBurst(burst)),
        }
    }

    /// What may pass in a second; not 0.
    pub fn rate(self) -> u64 {
        self.rate
    }

    /// What may pass at once; not 0.
    pub fn burst(self) -> u64 {
        self.burst
    }
}

/// Limits that hold together, at least one. No limits are an
/// `Option<Limits>` that is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    operations: Option<Limit>,
    bytes: Option<Limit>,
}

impl Limits {
    /// Both limits, or the one that there is; `None` if there is neither.
    pub fn new(operations: Option<Limit>, bytes: Option<Limit>) -> Option<Self> {
        let any = operations.is_some() || bytes.is_some();
        any.then_some(Self { operations, bytes })
    }

    /// The limit of operations, or packets.
    pub fn operations(self) -> Option<Limit> {
        self.operations
    }

    /// The limit of bytes.
    pub fn bytes(self) -> Option<Limit> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_absurd_values_are_refused_with_what_to_do() {
        let refused = [
            Limit::per_second(0),
            Limit::per_second(MAX_RATE + 1),
            Limit::per_second(u64::MAX),
            Limit::per_second(1).unwrap().with_burst(0),
            Limit::per_second(1).unwrap().with_burst(MAX_BURST + 1),
        ];
        for limit in refused {
            let message = limit.unwrap_err().to_string();
            assert!(message.contains("leave"), "{message}");
        }
        let largest = Limit::per_second(MAX_RATE).unwrap();
        assert_eq!(largest.with_burst(MAX_BURST).unwrap().burst(), MAX_BURST);
    }

    #[test]
    fn a_burst_that_is_not_given_is_ten_milliseconds() {
        for (rate, burst) in [(1, 1), (100, 1), (3000, 30), (50_000_000, 500_000)] {
            assert_eq!(Limit::per_second(rate).unwrap().burst(), burst);
        }
    }

    #[test]
    fn limits_of_nothing_are_none() {
        assert_eq!(Limits::new(None, None), None);
        let limit = Limit::per_second(5).unwrap();
        let limits = Limits::new(None, Some(limit)).unwrap();
        assert_eq!((limits.operations(), limits.bytes()), (None, Some(limit)));
    }
}
