//! A limit on log lines that a guest can cause: one each ten seconds, which
//! says how many were left out.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(10);

/// The limit of one source of lines.
#[derive(Debug, Default)]
pub struct LogLimit {
    next: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Logs a warning, if it is time for one.
    pub fn warn(&mut self, line: impl FnOnce() -> String) {
        if let Some(left_out) = self.admit(Instant::now()) {
            match left_out {
                0 => log::warn!("{}", line()),
                more => log::warn!("{} ({more} more before it)", line()),
            }
        }
    }

    /// Whether a line may go out at `now`, and how many did not before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.left_out += 1;
            return None;
        }
        self.next = Some(now + PAUSE);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_let_through_one_per_pause_and_the_others_counted() {
        let mut limit = LogLimit::default();
        let start = Instant::now();
        assert_eq!(limit.admit(start), Some(0));
        assert_eq!(limit.admit(start), None);
        assert_eq!(limit.admit(start + PAUSE / 2), None);
        assert_eq!(limit.admit(start + PAUSE), Some(2));
        assert_eq!(limit.admit(start + PAUSE * 2), Some(0));
    }
}
