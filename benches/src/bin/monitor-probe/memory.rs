//! A monitor's memory, told from its guest's.
//!
//! Guest memory is what the monitor gives KVM as memory slots, seen by a
//! probe on the function that sets them; no guess by name or size.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use benches::family::family;
use benches::probe::Memory;

use crate::tracing::{Tracing, events};

/// Slots from here on are KVM's own pages (`KVM_USER_MEM_SLOTS`).
const KVM_SLOTS: u64 = 32764;

/// The event of a memory slot being set, as [`Tracing::start`] takes it.
pub(crate) const SLOT: &str = "plinth:slot";

/// Makes that event. struct kvm_userspace_memory_region, Documentation/virt/kvm/api.rst
/// §4.35, is the function's second argument; since Linux 6.14 it is called by another
/// name, and where KVM is no module both are the kernel's.
pub(crate) fn define(tracing: &mut Tracing) -> Result<()> {
    let functions = [
        "kvm:__kvm_set_memory_region",
        "kvm:kvm_set_memory_region",
        "__kvm_set_memory_region",
        "kvm_set_memory_region",
    ];
    let arguments = "slot=+0(%si):u32 size=+16(%si):u64 address=+24(%si):u64";
    tracing.define("plinth/slot", &functions, arguments)
}

/// Measures process `pid` and its children, whose memory slots are in `trace`.
pub(crate) fn measure(trace: &str, pid: u32) -> Result<Memory> {
    let mut slots = BTreeMap::new();
    for event in events(trace).filter(|event| event.name == "slot") {
        let field = |name| number(event.text, name);
        let (slot, size, address) = (field("slot")?, field("size")?, field("address")?);
        if slot % (1 << 16) < KVM_SLOTS {
            slots.insert(slot, address..address + size);
        }
    }
    ensure!(!slots.is_empty(), "the monitor has set no memory slot");
    let guest: Vec<_> = slots.into_values().collect();
    let mut memory = Memory::default();
    for pid in family(pid)? {
        let path = format!("/proc/{pid}/smaps");
        let smaps = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        add(&smaps, &guest, &mut memory)?;
    }
    Ok(memory)
}

fn number(text: &str, name: &str) -> Result<u64> {
    let value = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let value = value.with_context(|| format!("no {name} in {text:?}"))?;
    value.parse().with_context(|| format!("{name} in {text:?}"))
}

/// Adds a process's mappings; `guest` are the guest's addresses.
fn add(smaps: &str, guest: &[Range<u64>], memory: &mut Memory) -> Result<()> {
    let (mut is_guest, mut name) = (false, "");
    for line in smaps.lines() {
        if let Some((range, rest)) = mapping(line) {
            let covered = hull(guest, &range);
            ensure!(
                covered.is_empty() || covered == range,
                "a mapping is of guest memory and more: {line}"
            );
            is_guest = !covered.is_empty();
            // Permissions, offset, device and inode come before the name.
            name = rest.split_whitespace().nth(4).unwrap_or("[anonymous]");
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let kib = || value.trim().trim_end_matches(" kB").parse::<u64>();
        match key {
            "Pss" if is_guest => memory.guest_kib += kib()?,
            "Pss" => {
                memory.pss_kib += kib()?;
                *memory.by_mapping.entry(name.to_owned()).or_default() += kib()?;
            }
            "Private_Clean" | "Private_Dirty" if !is_guest => memory.private_kib += kib()?,
            _ => {}
        }
    }
    Ok(())
}

/// From the first to the last byte of `range` that is in a slot. What a
/// monitor keeps between two slots of one mapping is memory that the machine
/// hides, as PCs do under their firmware.
fn hull(slots: &[Range<u64>], range: &Range<u64>) -> Range<u64> {
    let touching = || {
        slots
            .iter()
            .filter(|slot| slot.start < range.end && range.start < slot.end)
    };
    let start = touching().map(|slot| slot.start.max(range.start)).min();
    let end = touching().map(|slot| slot.end.min(range.end)).max();
    start.unwrap_or(0)..end.unwrap_or(0)
}

/// The range and the rest of a mapping's first line.
fn mapping(line: &str) -> Option<(Range<u64>, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let parse = |text| u64::from_str_radix(text, 16).ok();
    Some((parse(start)?..parse(end)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 rw-p 00000000 00:00 0 \n\
Pss:                   8 kB\nPrivate_Dirty:         8 kB\n\
8000-9000 r--p 00000000 00:02 77                         /bin/monitor\n\
Pss:                   4 kB\nPrivate_Clean:         0 kB\nPrivate_Dirty:         3 kB\n";

    #[test]
    fn guest_memory_and_what_is_between_it_is_kept_apart() {
        let mut memory = Memory::default();
        add(SMAPS, &[0x1000..0x2000, 0x2800..0x4000], &mut memory).unwrap();
        assert_eq!((memory.pss_kib, memory.private_kib), (4, 3));
        assert_eq!(memory.guest_kib, 8);
        assert_eq!(memory.by_mapping["/bin/monitor"], 4);
    }

    #[test]
    fn a_mapping_of_both_kinds_is_refused() {
        let mut memory = Memory::default();
        assert!(add(SMAPS, &[0x2000..0x3000, 0x8000..0x9000], &mut memory).is_err());
    }
}
