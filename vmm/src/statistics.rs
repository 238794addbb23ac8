//! What a machine has done: how long it took to start, and its exits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cpu::vcpu::VcpuCounters;

/// When a machine was asked for and when its guest was first entered.
#[derive(Debug)]
pub(crate) struct BootClock {
    asked: Instant,
    entered: OnceLock<Instant>,
}

impl BootClock {
    /// A machine asked for at `asked`.
    pub(crate) fn new(asked: Instant) -> Self {
        Self {
            asked,
            entered: OnceLock::new(),
        }
    }

    /// The guest is entered at `now`; only the first time counts.
    pub(crate) fn enter(&self, now: Instant) {
        let _ = self.entered.set(now);
    }
}

/// What a machine has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// From being asked for the machine to entering the guest, in
    /// microseconds; none if it was not entered.
    pub first_entry_us: Option<u64>,
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
        Self {
            first_entry_us: first_entry.map(microseconds),
            port_exits: sum(|v| &v.port_exits),
            mmio_exits: sum(|v| &v.mmio_exits),
            other_exits: sum(|v| &v.other_exits),
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
