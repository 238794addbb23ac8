//! What a VMM's process takes beside its guest's memory, from what Linux says
//! of its mappings (`/proc/PID/smaps`).

use anyhow::{Context, Result};

/// Proportional set size of process `pid` in KiB: of its own mappings, and of
/// its guest's memory, which is the one mapping of `guest` bytes or a little
/// more (Linux joins it with a neighbour of the same kind).
pub(super) fn proportional(pid: u32, guest: u64) -> Result<(u64, u64)> {
    let path = format!("/proc/{pid}/smaps");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(split(&mappings(&text), guest))
}

struct Mapping {
    start: u64,
    end: u64,
    pss: u64,
}

fn mappings(smaps: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        if let Some((start, end)) = word.split_once('-').and_then(range) {
            mappings.push(Mapping { start, end, pss: 0 });
        } else if let (Some(rest), Some(last)) = (line.strip_prefix("Pss:"), mappings.last_mut()) {
            let kib = rest.split_whitespace().next().and_then(|n| n.parse().ok());
            last.pss = kib.unwrap_or(0);
        }
    }
    mappings
}

fn range((start, end): (&str, &str)) -> Option<(u64, u64)> {
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some((hex(start)?, hex(end)?))
}

fn split(mappings: &[Mapping], guest: u64) -> (u64, u64) {
    let all: u64 = mappings.iter().map(|mapping| mapping.pss).sum();
    let large = mappings.iter().filter(|m| m.end - m.start >= guest);
    let guest = large.map(|mapping| mapping.pss).max().unwrap_or(0);
    (all - guest, guest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r-xp 00000000 00:00 0 /plinth-vmm
Rss:                  12 kB
Pss:                   8 kB
10000-30000 ---p 00000000 00:00 0
Pss:                   0 kB
30000-51000 rw-p 00000000 00:00 0
Pss:                 100 kB
Pss_Dirty:             7 kB
60000-61000 rw-p 00000000 00:00 0
Pss:                   4 kB
";

    #[test]
    fn guest_memory_is_told_from_what_is_only_reserved() {
        assert_eq!(split(&mappings(SMAPS), 0x20000), (12, 100));
    }

    #[test]
    fn without_guest_memory_all_is_the_vmms() {
        assert_eq!(split(&mappings(SMAPS), 0x5000_0000), (112, 0));
    }
}
