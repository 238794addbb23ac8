//! A machine's memory as it is told: what it has, what that takes of the host,
//! and what the guest says of it.

use serde::{Deserialize, Serialize};

use crate::memory::{BalloonStatus, MemoryStatus};
use devices::balloon::statistics::MemoryStatistics;

/// How much memory a machine has.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemoryDocument {
    boot_bytes: u64,
    resident_bytes: u64,
    requested_bytes: u64,
    plugged_bytes: u64,
    most_bytes: u64,
    balloon: Option<BalloonDocument>,
}

/// What a balloon holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BalloonDocument {
    target_bytes: u64,
    actual_bytes: u64,
    inflated_bytes: u64,
    deflated_bytes: u64,
    reported_bytes: u64,
    statistics: Option<GuestMemory>,
}

/// What a guest says of its memory; it leaves out what it does not know.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuestMemory {
    age_ms: u64,
    total_bytes: Option<u64>,
    free_bytes: Option<u64>,
    available_bytes: Option<u64>,
    cache_bytes: Option<u64>,
    swapped_in_bytes: Option<u64>,
    swapped_out_bytes: Option<u64>,
    major_faults: Option<u64>,
    minor_faults: Option<u64>,
    huge_page_allocations: Option<u64>,
    huge_page_failures: Option<u64>,
}

impl From<&MemoryStatus> for MemoryDocument {
    fn from(status: &MemoryStatus) -> Self {
        Self {
            boot_bytes: status.boot_bytes,
            resident_bytes: status.resident_bytes,
            requested_bytes: status.requested_bytes,
            plugged_bytes: status.plugged_bytes,
            most_bytes: status.most_bytes,
            balloon: status.balloon.as_ref().map(Into::into),
        }
    }
}

impl From<&BalloonStatus> for BalloonDocument {
    fn from(status: &BalloonStatus) -> Self {
        Self {
            target_bytes: status.target_bytes,
            actual_bytes: status.actual_bytes,
            inflated_bytes: status.inflated_bytes,
            deflated_bytes: status.deflated_bytes,
            reported_bytes: status.reported_bytes,
            statistics: status.statistics.as_ref().map(Into::into),
        }
    }
}

impl From<&MemoryStatistics> for GuestMemory {
    fn from(statistics: &MemoryStatistics) -> Self {
        let age = statistics.received.elapsed().as_millis();
        Self {
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            total_bytes: statistics.total,
            free_bytes: statistics.free,
            available_bytes: statistics.available,
            cache_bytes: statistics.caches,
            swapped_in_bytes: statistics.swap_in,
            swapped_out_bytes: statistics.swap_out,
            major_faults: statistics.major_faults,
            minor_faults: statistics.minor_faults,
            huge_page_allocations: statistics.huge_page_allocations,
            huge_page_failures: statistics.huge_page_failures,
        }
    }
}
