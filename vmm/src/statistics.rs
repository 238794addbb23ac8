//! What a machine has done: how long it took to start, and its exits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cpu::vcpu::VcpuCounters;

/// When a machine was asked for and when its guest was first entered, and the
/// same of its last reset.
#[derive(Debug)]
pub(crate) struct BootClock {
    asked: Instant,
    entered: OnceLock<Instant>,
    resets: Mutex<Resets>,
}

#[derive(Debug, Default)]
struct Resets {
    count: u64,
    /// When the last was asked for, until the guest is entered.
    asked: Option<Instant>,
    /// How long the last took that came to an end.
    took: Option<Duration>,
}

impl BootClock {
    /// A machine asked for at `asked`.
    pub(crate) fn new(asked: Instant) -> Self {
        Self {
            asked,
            entered: OnceLock::new(),
            resets: Mutex::default(),
        }
    }

    /// A reset was asked for at `now`.
    pub(crate) fn reset(&self, now: Instant) {
        let mut resets = self.resets();
        resets.count += 1;
        resets.asked = Some(now);
    }

    /// The guest is entered at `now`, for the first time since it was switched
    /// on or reset.
    pub(crate) fn enter(&self, now: Instant) {
        let _ = self.entered.set(now);
        let mut resets = self.resets();
        if let Some(asked) = resets.asked.take() {
            resets.took = Some(now - asked);
        }
    }

    fn resets(&self) -> MutexGuard<'_, Resets> {
        // Plain values are valid whoever panicked.
        self.resets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a machine has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// From being asked for the machine to entering the guest, in
    /// microseconds; none if it was not entered.
    pub first_entry_us: Option<u64>,
    /// How often the guest was reset.
    pub resets: u64,
    /// From the last reset that came to an end to entering the guest anew, in
    /// microseconds.
    pub reset_us: Option<u64>,
    /// All exits from the guest, also those that KVM handled, all vCPUs
    /// together, up to the last reset or the machine's end. None before either,
    /// and where the host does not tell.
    pub exits: Option<u64>,
    /// Exits to this process for port accesses, all vCPUs together.
    pub port_exits: u64,
    /// The same for MMIO accesses.
    pub mmio_exits: u64,
    /// The same for anything else.
    pub other_exits: u64,
}

impl Statistics {
    pub(crate) fn gather(vcpus: &[Arc<VcpuCounters>], clock: &BootClock) -> Self {
        let sum = |of: fn(&VcpuCounters) -> &std::sync::atomic::AtomicU64| {
            vcpus.iter().map(|v| of(v).load(Ordering::Relaxed)).sum()
        };
        let first_entry = clock.entered.get().map(|entered| *entered - clock.asked);
        let resets = clock.resets();
        Self {
            resets: resets.count,
            reset_us: resets.took.map(microseconds),
            first_entry_us: first_entry.map(microseconds),
            exits: vcpus.iter().map(|v| v.all_exits()).sum(),
            port_exits: sum(|v| &v.port_exits),
            mmio_exits: sum(|v| &v.mmio_exits),
            other_exits: sum(|v| &v.other_exits),
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_of_all_vcpus_and_all_exits_only_once_all_have_ended() {
        let vcpus = [Arc::<VcpuCounters>::default(), Arc::default()];
        for (vcpu, count) in vcpus.iter().zip([1, 10]) {
            vcpu.port_exits.store(count, Ordering::Relaxed);
            vcpu.mmio_exits.store(2 * count, Ordering::Relaxed);
            vcpu.other_exits.store(3 * count, Ordering::Relaxed);
        }
        let clock = BootClock::new(Instant::now());
        vcpus[0].end(90);
        vcpus[0].end(10);
        let running = Statistics::gather(&vcpus, &clock);
        let expected = Statistics {
            first_entry_us: None,
            resets: 0,
            reset_us: None,
            exits: None,
            port_exits: 11,
            mmio_exits: 22,
            other_exits: 33,
        };
        assert_eq!(running, expected);
        vcpus[1].end(11);
        assert_eq!(Statistics::gather(&vcpus, &clock).exits, Some(111));
    }

    #[test]
    fn only_the_first_entry_counts_and_none_is_before_the_asking() {
        let asked = Instant::now();
        let clock = BootClock::new(asked);
        clock.enter(asked + Duration::from_micros(1500));
        clock.enter(asked + Duration::from_secs(9));
        assert_eq!(Statistics::gather(&[], &clock).first_entry_us, Some(1500));

        let late = BootClock::new(asked + Duration::from_secs(1));
        late.enter(asked);
        assert_eq!(Statistics::gather(&[], &late).first_entry_us, Some(0));
    }

    #[test]
    fn a_reset_is_timed_until_the_guest_is_entered_anew() {
        let asked = Instant::now();
        let clock = BootClock::new(asked);
        clock.enter(asked + Duration::from_micros(1500));
        for took in [700, 800] {
            let reset = asked + Duration::from_secs(took);
            clock.reset(reset);
            clock.enter(reset + Duration::from_micros(took));
        }
        // One that has not come to an end.
        clock.reset(asked + Duration::from_secs(900));
        let statistics = Statistics::gather(&[], &clock);
        assert_eq!((statistics.resets, statistics.reset_us), (3, Some(800)));
        assert_eq!(statistics.first_entry_us, Some(1500));
    }

    #[test]
    fn a_report_can_be_read_back() {
        let statistics = Statistics {
            first_entry_us: Some(1),
            resets: 2,
            reset_us: Some(3),
            exits: None,
            port_exits: 2,
            mmio_exits: u64::MAX,
            other_exits: 4,
        };
        let text = serde_json::to_string(&statistics).unwrap();
        let read: Statistics = serde_json::from_str(&text).unwrap();
        assert_eq!(read, statistics);
    }
}
