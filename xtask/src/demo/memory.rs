//! What a VMM's process takes beside its guest's memory, from what Linux says
//! of its mappings (`/proc/PID/smaps`).

use anyhow::{Context, Result};

/// Proportional set size of process `pid` in KiB, in its own mappings and in
/// those that are its guest's memory: a run of adjacent mappings of `guest`
/// bytes in all.
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

/// The guest's memory may be in pieces, where a file was laid into it.
fn split(mappings: &[Mapping], guest: u64) -> (u64, u64) {
    let pss = |mappings: &[Mapping]| mappings.iter().map(|mapping| mapping.pss).sum();
    for first in 0..mappings.len() {
        let mut last = first;
        while last + 1 < mappings.len() && mappings[last].end == mappings[last + 1].start {
            if mappings[last].end - mappings[first].start >= guest {
                break;
            }
            last += 1;
        }
        if mappings[last].end - mappings[first].start == guest {
            let inside: u64 = pss(&mappings[first..=last]);
            let all: u64 = pss(mappings);
            return (all - inside, inside);
        }
    }
    (pss(mappings), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r-xp 00000000 00:00 0 /plinth-vmm
Rss:                  12 kB
Pss:                   8 kB
10000-20000 rw-p 00000000 00:00 0
Pss:                 100 kB
Pss_Dirty:             7 kB
20000-30000 rw-p 00000000 08:01 5 /vmlinux
Pss:                  20 kB
30000-31000 rw-p 00000000 00:00 0
Pss:                   4 kB
";

    #[test]
    fn guest_memory_is_told_apart_even_in_pieces() {
        assert_eq!(split(&mappings(SMAPS), 0x20000), (12, 120));
    }

    #[test]
    fn without_guest_memory_all_is_the_vmms() {
        assert_eq!(split(&mappings(SMAPS), 0x5000_0000), (132, 0));
    }
}
