//! The rate of this host's time stamp counter, which the emulator passes on
//! to its guest as it is. A guest that is told it need not calibrate timers.
#![allow(unsafe_code)] // RDTSC is an intrinsic.

use std::arch::x86_64::_rdtsc;
use std::time::{Duration, Instant};

/// Measures the counter's rate in kHz, to about one part in 100,000.
pub(crate) fn khz() -> u64 {
    let (start, from) = (Instant::now(), ticks());
    std::thread::sleep(Duration::from_millis(50));
    let (elapsed, to) = (start.elapsed(), ticks());
    let khz = u128::from(to.wrapping_sub(from)) * 1_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(khz).unwrap_or(u64::MAX)
}

fn ticks() -> u64 {
    // SAFETY: every x86_64 processor has RDTSC, and Linux leaves it enabled.
    unsafe { _rdtsc() }
}
