//! How often one interface is answered, so that a guest that asks without end
//! costs its host no more than one that asks often.

use std::time::Duration;

/// Requests in a second, and at once after a second without any: about what
/// EC2 lets through (1024 packets in a second to link-local addresses, for each
/// interface).
pub const PER_SECOND: u32 = 1024;

const WINDOW: Duration = Duration::from_secs(1);

/// Counts requests against [`PER_SECOND`]: the time up to which they are
/// accounted for, each with its share of a second, may be a second ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    accounted: Duration,
}

impl Rate {
    /// Whether a request is answered that comes at `now`, by a clock that does
    /// not go back.
    pub fn admits(&mut self, now: Duration) -> bool {
        let accounted = self.accounted.max(now).saturating_add(WINDOW / PER_SECOND);
        let admitted = accounted <= now.saturating_add(WINDOW);
        if admitted {
            self.accounted = accounted;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(rate: &mut Rate, now: Duration) -> u32 {
        (0..5000).map(|_| u32::from(rate.admits(now))).sum()
    }

    #[test]
    fn a_burst_is_admitted_and_then_what_was_earned_since() {
        let mut rate = Rate::default();
        let now = Duration::from_secs(10);
        assert_eq!(admitted(&mut rate, now), PER_SECOND);
        let half = now + WINDOW / 2;
        assert!(admitted(&mut rate, half).abs_diff(PER_SECOND / 2) <= 1);
        assert_eq!(admitted(&mut rate, Duration::from_secs(60)), PER_SECOND);
    }

    #[test]
    fn the_end_of_time_is_no_trouble() {
        assert!(
            !Rate {
                accounted: Duration::MAX
            }
            .admits(Duration::ZERO)
        );
        let _ = Rate::default().admits(Duration::MAX);
    }
}
