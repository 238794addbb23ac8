//! A watchdog's countdown, apart from the clock that drives it.

use std::time::{Duration, Instant};

/// What a countdown starts from if the guest does not say, in seconds.
const USUAL: u16 = 30;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Stopped,
    Until(Instant),
    /// Time is stopped, with this much left.
    Held(Duration),
}

/// The countdown.
#[derive(Debug)]
pub(super) struct Countdown {
    seconds: u16,
    max_seconds: u16,
    progress: Progress,
    expired: bool,
}

impl Countdown {
    /// One that does not run.
    pub(super) fn new(max_seconds: u16) -> Self {
        let max_seconds = max_seconds.max(1);
        Self {
            seconds: USUAL.min(max_seconds),
            max_seconds,
            progress: Progress::Stopped,
            expired: false,
        }
    }

    /// What it counts down from.
    pub(super) fn seconds(&self) -> u16 {
        self.seconds
    }

    /// Has it count down from `seconds`, or the nearest that is possible, the
    /// next time it starts anew.
    pub(super) fn set_seconds(&mut self, seconds: u32) {
        let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        self.seconds = seconds.clamp(1, self.max_seconds);
    }

    /// Whether it was started, even if time is stopped.
    pub(super) fn is_running(&self) -> bool {
        self.progress != Progress::Stopped
    }

    /// Whether it runs, and time as well.
    pub(super) fn is_counting(&self) -> bool {
        matches!(self.progress, Progress::Until(_))
    }

    /// What is left of it; nothing unless it runs.
    pub(super) fn left(&self, now: Instant) -> Duration {
        match self.progress {
            Progress::Stopped => Duration::ZERO,
            Progress::Until(end) => end.saturating_duration_since(now),
            Progress::Held(left) => left,
        }
    }

    /// Starts it from the beginning.
    pub(super) fn start(&mut self, now: Instant) {
        let whole = Duration::from_secs(self.seconds.into());
        self.progress = Progress::Until(now + whole);
    }

    /// Starts it from the beginning if it runs.
    pub(super) fn restart(&mut self, now: Instant) {
        if self.is_running() {
            self.start(now);
        }
    }

    pub(super) fn stop(&mut self) {
        self.progress = Progress::Stopped;
    }

    /// Stops time.
    pub(super) fn hold(&mut self, now: Instant) {
        if let Progress::Until(_) = self.progress {
            self.progress = Progress::Held(self.left(now));
        }
    }

    /// Has time go on.
    pub(super) fn release(&mut self, now: Instant) {
        if let Progress::Held(left) = self.progress {
            self.progress = Progress::Until(now + left);
        }
    }

    /// Ends it if nothing is left, and says whether it did.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let over = self.is_counting() && self.left(now).is_zero();
        if over {
            self.stop();
            self.expired = true;
        }
        over
    }

    /// Whether it ever ended, since it was told to forget.
    pub(super) fn has_expired(&self) -> bool {
        self.expired
    }

    /// Forgets that it ended.
    pub(super) fn forget(&mut self) {
        self.expired = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn started(seconds: u32, now: Instant) -> Countdown {
        let mut countdown = Countdown::new(3600);
        countdown.set_seconds(seconds);
        countdown.start(now);
        countdown
    }

    #[test]
    fn it_ends_when_its_time_is_over_and_not_before() {
        let now = Instant::now();
        let mut countdown = started(10, now);
        assert!(!countdown.expire(now + 10 * SECOND - Duration::from_nanos(1)));
        assert!(!countdown.has_expired());
        assert!(countdown.expire(now + 10 * SECOND));
        assert!(countdown.has_expired() && !countdown.is_running());
        assert!(!countdown.expire(now + 20 * SECOND), "only once");
        countdown.forget();
        assert!(!countdown.has_expired());
    }

    #[test]
    fn a_restart_gives_it_the_whole_time_again_but_does_not_start_it() {
        let now = Instant::now();
        let mut countdown = started(10, now);
        countdown.restart(now + 9 * SECOND);
        assert!(!countdown.expire(now + 18 * SECOND));
        assert_eq!(countdown.left(now + 18 * SECOND), SECOND);
        countdown.stop();
        countdown.restart(now);
        assert!(!countdown.is_running());
        assert!(!countdown.expire(now + 100 * SECOND));
    }

    #[test]
    fn time_that_is_held_does_not_count() {
        let now = Instant::now();
        let mut countdown = started(10, now);
        countdown.hold(now + 4 * SECOND);
        assert!(!countdown.expire(now + 100 * SECOND));
        assert_eq!(countdown.left(now + 100 * SECOND), 6 * SECOND);
        countdown.hold(now + 100 * SECOND);
        countdown.release(now + 100 * SECOND);
        assert!(!countdown.expire(now + 105 * SECOND));
        assert!(countdown.expire(now + 106 * SECOND));
        countdown.hold(now);
        countdown.release(now);
        assert!(!countdown.is_running());
    }

    #[test]
    fn its_length_is_kept_within_bounds() {
        let mut countdown = Countdown::new(100);
        assert_eq!(countdown.seconds(), 30);
        for (asked, got) in [(0, 1), (1, 1), (100, 100), (101, 100), (u32::MAX, 100)] {
            countdown.set_seconds(asked);
            assert_eq!(countdown.seconds(), got);
        }
        assert_eq!(Countdown::new(0).seconds(), 1);
    }
}
