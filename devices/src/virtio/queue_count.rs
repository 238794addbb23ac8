//! How many queues a device offers for the same work, so that several vCPUs
//! can use it without waiting for each other.
//!
//! For a disk these are request queues, for a network interface pairs of a
//! receive and a transmit queue.

/// From 1, which is the default, to [`QueueCount::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueCount(u16);

/// No device has that many queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device has 1 to {most} queues, not {count}", most = QueueCount::MAX.get())]
pub struct BadQueueCount {
    count: u64,
}

impl QueueCount {
    /// The most. Beyond it, host CPUs rather than queues are what is short;
    /// and each queue has an interrupt vector of its own, which a function has
    /// 64 of.
    pub const MAX: Self = Self(16);

    /// # Errors
    /// It is 0 or more than [`QueueCount::MAX`].
    pub fn new(count: u64) -> Result<Self, BadQueueCount> {
        match u16::try_from(count) {
            Ok(few) if (1..=Self::MAX.0).contains(&few) => Ok(Self(few)),
            _ => Err(BadQueueCount { count }),
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for QueueCount {
    fn default() -> Self {
        Self(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_at_least_one_queue_and_not_too_many() {
        assert_eq!(QueueCount::new(1), Ok(QueueCount::default()));
        assert_eq!(QueueCount::new(16), Ok(QueueCount::MAX));
        for count in [0, 17, 1 << 16 | 1, u64::MAX] {
            let refused = QueueCount::new(count).unwrap_err().to_string();
            assert!(refused.contains("1 to 16"), "{refused}");
            assert!(refused.contains(&count.to_string()), "{refused}");
        }
    }
}
