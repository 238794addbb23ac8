//! How much memory the host has for guests.

use rustix::system::sysinfo;

use super::finding::Finding;

const NAME: &str = "memory";

/// The memory of the smallest guest, in bytes.
const LEAST: u64 = boot::layout::MEMORY_MIN;

/// The host's whole memory, in bytes.
pub fn total() -> u64 {
    let info = sysinfo();
    info.totalram.saturating_mul(info.mem_unit.into())
}

/// Probes memory.
pub fn probe() -> Finding {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    judge(total(), available(&meminfo))
}

/// What can be had without swapping, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn judge(total: u64, available: Option<u64>) -> Finding {
    let mib = |bytes: u64| bytes >> 20;
    let Some(available) = available else {
        return Finding::warn(
            NAME,
            format!("{} MiB; how much of it is free is not known", mib(total)),
            "mounting /proc",
        );
    };
    let detail = format!(
        "{} MiB, of which {} MiB available",
        mib(total),
        mib(available)
    );
    if available < LEAST {
        return Finding::warn(
            NAME,
            detail,
            "ending something: the smallest guest has 64 MiB",
        );
    }
    Finding::ok(NAME, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:  2048 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(available(text), Some(1 << 20));
        for text in ["", "MemAvailable: x kB", "MemAvailable: 1"] {
            assert_eq!(available(text), None);
        }
    }

    #[test]
    fn too_little_for_the_smallest_guest_is_a_warning() {
        assert_eq!(judge(1 << 30, Some(64 << 20)).level, Level::Ok);
        assert_eq!(judge(1 << 30, Some(63 << 20)).level, Level::Warn);
        assert_eq!(judge(1 << 30, None).level, Level::Warn);
    }
}
