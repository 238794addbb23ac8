//! What CPUID tells the guest.
//!
//! The starting point is what this host's KVM supports. From that is taken
//! what the machine has not (nested virtualization, performance counters,
//! MONITOR), and to it is added what KVM leaves to user space: who each vCPU
//! is, how they are grouped (one package of single-threaded cores), and the
//! clocks' frequencies, so that a guest calibrates no timer.
//!
//! Leaf and bit numbers: SDM vol. 2A CPUID, AMD APM vol. 3 appendix E; leaf
//! 0x4000_0010 is the timing leaf that hypervisors agreed on (lkml, 2008).

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::Kvm;

use crate::error::{Error, Result};

/// KVM's local APIC timers count nanoseconds.
const APIC_BUS_HZ: u32 = 1_000_000_000;
const TIMING_LEAF: u32 = 0x4000_0010;
/// `KVM_CPUID_FLAG_SIGNIFCANT_INDEX`: the entry is for one subleaf.
const HAS_INDEX: u32 = 1;

/// Who made the processor: some leaves mean something for one maker only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vendor {
    Intel,
    /// AMD, and Hygon with it.
    Amd,
}

/// CPUID of a machine, before it is fitted to each vCPU.
pub(crate) struct CpuidTemplate {
    entries: Vec<kvm_cpuid_entry2>,
    vendor: Vendor,
    cpus: u32,
}

impl CpuidTemplate {
    /// What `kvm` supports, for a machine of `cpus` vCPUs whose time stamp
    /// counters run at `tsc_khz`.
    pub(crate) fn new(kvm: &Kvm, cpus: u8, tsc_khz: u32) -> Result<Self> {
        let supported = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(Error::kvm("list CPU features"))?;
        Ok(Self::from_entries(supported.as_slice(), cpus, tsc_khz))
    }

    fn from_entries(supported: &[kvm_cpuid_entry2], cpus: u8, tsc_khz: u32) -> Self {
        let mut template = Self {
            entries: supported.to_vec(),
            vendor: vendor(supported),
            cpus: u32::from(cpus),
        };
        template.remove_what_is_not_there();
        template.add_frequencies(tsc_khz);
        template.add_topology_leaves();
        template
    }

    /// The template fitted to vCPU `id`.
    pub(crate) fn for_cpu(&self, id: u8) -> Result<CpuId> {
        let id = u32::from(id);
        let mut entries = self.entries.clone();
        for entry in &mut entries {
            fit(entry, self.vendor, id, self.cpus);
        }
        // KVM answers with zeros for what is not in the table, which holds a
        // limited number of entries.
        entries.retain(|e| e.eax | e.ebx | e.ecx | e.edx != 0);
        CpuId::from_entries(&entries)
            .map_err(|error| Error::internal("CPUID table", format!("{error:?}")))
    }

    fn remove_what_is_not_there(&mut self) {
        for entry in &mut self.entries {
            match entry.function {
                // VMX, MONITOR, and PDCM, which goes with counters.
                1 => entry.ecx &= !(1 << 5 | 1 << 3 | 1 << 15),
                // No performance counters.
                0xa => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
                // SVM, and the core performance counter extensions.
                0x8000_0001 => entry.ecx &= !(1 << 2 | 1 << 23 | 1 << 24 | 1 << 28),
                _ => {}
            }
        }
        // SVM's own leaf, memory encryption, AMD's performance monitoring.
        self.entries
            .retain(|e| !matches!(e.function, 0x8000_000a | 0x8000_001f | 0x8000_0022));
    }

    fn add_frequencies(&mut self, tsc_khz: u32) {
        self.set_leaf(TIMING_LEAF, 0, [tsc_khz, APIC_BUS_HZ / 1000, 0, 0]);
        if let Some(base) = self.leaf_mut(0x4000_0000) {
            base.eax = base.eax.max(TIMING_LEAF);
        }
        // Leaf 0x15 is Intel's; an AMD guest would not look. The crystal also
        // drives the APIC timer, so that it must be KVM's.
        if self.vendor == Vendor::Intel {
            let (numerator, denominator) = crystal_ratio(tsc_khz);
            self.set_leaf(0x15, 0, [denominator, numerator, APIC_BUS_HZ, 0]);
            if let Some(base) = self.leaf_mut(0) {
                base.eax = base.eax.max(0x15);
            }
        }
    }

    /// Extended topology (leaf 0xb): KVM lists it without content.
    fn add_topology_leaves(&mut self) {
        const LEVEL_SMT: u32 = 1 << 8;
        const LEVEL_CORE: u32 = 2 << 8;
        self.entries.retain(|e| !matches!(e.function, 0xb | 0x1f));
        let shift = id_bits(self.cpus);
        let cpus = self.cpus;
        self.set_leaf(0xb, 0, [0, 1, LEVEL_SMT, 0]);
        self.set_leaf(0xb, 1, [shift, cpus, LEVEL_CORE | 1, 0]);
        self.set_leaf(0xb, 2, [0, 0, 2, 0]);
    }

    fn leaf_mut(&mut self, function: u32) -> Option<&mut kvm_cpuid_entry2> {
        self.entries.iter_mut().find(|e| e.function == function)
    }

    fn set_leaf(&mut self, function: u32, index: u32, [eax, ebx, ecx, edx]: [u32; 4]) {
        let flags = if function == 0xb { HAS_INDEX } else { 0 };
        self.entries
            .retain(|e| (e.function, e.index) != (function, index));
        self.entries.push(kvm_cpuid_entry2 {
            function,
            index,
            flags,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        });
    }
}

fn vendor(entries: &[kvm_cpuid_entry2]) -> Vendor {
    match entries.iter().find(|e| e.function == 0) {
        Some(leaf) if leaf.ebx == u32::from_le_bytes(*b"Genu") => Vendor::Intel,
        _ => Vendor::Amd,
    }
}

/// The fraction of the crystal's frequency that comes nearest to `tsc_khz`.
/// Linux multiplies the crystal's kHz with the numerator in 32 bits
/// (`native_calibrate_tsc`), so that the frequencies themselves cannot serve.
fn crystal_ratio(tsc_khz: u32) -> (u32, u32) {
    const CRYSTAL_KHZ: u64 = APIC_BUS_HZ as u64 / 1000;
    const MAX_NUMERATOR: u64 = u32::MAX as u64 / CRYSTAL_KHZ;
    const MAX_DENOMINATOR: u64 = 10_000;
    let tsc_khz = u64::from(tsc_khz);
    let fractions = (1..=MAX_DENOMINATOR)
        .map(|denominator| {
            let numerator = (tsc_khz * denominator + CRYSTAL_KHZ / 2) / CRYSTAL_KHZ;
            (numerator, denominator)
        })
        .take_while(|(numerator, _)| *numerator <= MAX_NUMERATOR);
    let error = |numerator: u64, denominator: u64| {
        // Hz, so that two fractions hardly ever look the same.
        (numerator * u64::from(APIC_BUS_HZ)).abs_diff(tsc_khz * 1000 * denominator) / denominator
    };
    let best = fractions.min_by_key(|(n, d)| error(*n, *d));
    let (numerator, denominator) = best.unwrap_or((0, 1));
    let narrow = |n| u32::try_from(n).expect("both are limited above");
    (narrow(numerator), narrow(denominator))
}

/// Makes `entry` true of vCPU `id` of `cpus`.
fn fit(entry: &mut kvm_cpuid_entry2, vendor: Vendor, id: u32, cpus: u32) {
    match entry.function {
        1 => {
            // Initial APIC id, and logical processors in the package.
            entry.ebx = entry.ebx & 0x0000_ffff | cpus << 16 | id << 24;
            // A hypervisor is present; TSC deadline timer, which KVM emulates.
            entry.ecx |= 1 << 31 | 1 << 24;
            // HTT: the field above is valid.
            set_bit(&mut entry.edx, 28, cpus > 1);
        }
        // Intel caches: first levels are a core's own, the last is shared.
        4 if entry.eax & 0x1f != 0 => {
            let sharing = if entry.eax >> 5 & 7 >= 3 { cpus } else { 1 };
            entry.eax = entry.eax & 0x3fff | (sharing - 1) << 14 | (cpus - 1).min(0x3f) << 26;
        }
        0xb => entry.edx = id,
        // AMD: the logical processors of leaf 1 are cores, not threads.
        0x8000_0001 if vendor == Vendor::Amd => set_bit(&mut entry.ecx, 1, cpus > 1),
        // AMD: cores in the package and bits of the APIC id that name them.
        0x8000_0008 if vendor == Vendor::Amd => {
            entry.ecx = entry.ecx & !0xf0ff | (cpus - 1) | id_bits(cpus) << 12
        }
        // AMD caches, as for Intel.
        0x8000_001d if entry.eax & 0x1f != 0 => {
            let sharing = if entry.eax >> 5 & 7 >= 3 { cpus } else { 1 };
            entry.eax = entry.eax & 0x3fff | (sharing - 1) << 14;
        }
        // AMD: APIC id, core with one thread, node 0 of 1.
        0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (id, id & 0xff, 0),
        _ => {}
    }
}

/// Bits that number `cpus` things.
fn id_bits(cpus: u32) -> u32 {
    cpus.next_power_of_two().trailing_zeros()
}

fn set_bit(word: &mut u32, bit: u32, value: bool) {
    *word = *word & !(1 << bit) | u32::from(value) << bit;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        }
    }

    fn host(vendor: &[u8; 4]) -> Vec<kvm_cpuid_entry2> {
        vec![
            leaf(0, [0xd, u32::from_le_bytes(*vendor), 0, 0]),
            leaf(1, [0, 0x0800, 1 << 21 | 1 << 5 | 1 << 3, 1 << 28]),
            cache(4, 0, 0x121),
            cache(4, 1, 0x163),
            leaf(0xa, [0x0730_0404, 0, 0, 0x603]),
            leaf(0x4000_0000, [0x4000_0001, 0, 0, 0]),
            leaf(0x8000_0001, [0, 0, 1 << 2, 0]),
            leaf(0x8000_0007, [0, 0, 0, 1 << 8]),
            // The host's 96 cores.
            leaf(0x8000_0008, [0x3030, 0, 0x705f, 0]),
            leaf(0x8000_000a, [1, 0, 0, 0]),
            cache(0x8000_001d, 0, 0x121),
            cache(0x8000_001d, 3, 0x163),
            leaf(0x8000_001e, [0, 0, 0, 0]),
            leaf(0x8000_001f, [3, 51, 0, 0]),
        ]
    }

    /// A cache that the host's 16 threads share.
    fn cache(function: u32, index: u32, kind: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            index,
            flags: HAS_INDEX,
            ..leaf(function, [kind | 15 << 14 | 7 << 26, 1, 2, 3])
        }
    }

    fn cpuid(vendor: &[u8; 4], cpus: u8, id: u8) -> Vec<kvm_cpuid_entry2> {
        let template = CpuidTemplate::from_entries(&host(vendor), cpus, 2_400_000);
        template.for_cpu(id).unwrap().as_slice().to_vec()
    }

    /// As KVM answers: zeros for what is not there.
    fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
        let mut entries = entries.iter();
        let found = entries.find(|e| (e.function, e.index) == (function, index));
        found.copied().unwrap_or_default()
    }

    /// Bits that Linux shifts an APIC id by for a field with a count less one.
    fn order(count_less_one: u32) -> u32 {
        (count_less_one + 1).next_power_of_two().trailing_zeros()
    }

    #[test]
    fn every_vcpu_is_a_core_of_one_package_and_knows_its_number() {
        for cpus in 1..=64u8 {
            for id in [0, cpus - 1] {
                for vendor in [b"Auth", b"Genu"] {
                    let entries = cpuid(vendor, cpus, id);
                    let (cpus, id) = (u32::from(cpus), u32::from(id));
                    let one = find(&entries, 1, 0);
                    assert_eq!(one.ebx >> 24, id);
                    assert_eq!(one.ebx >> 16 & 0xff, cpus);
                    assert_eq!(one.edx >> 28 & 1, u32::from(cpus > 1));
                    let [smt, core, end] = [0, 1, 2].map(|level| find(&entries, 0xb, level));
                    assert_eq!((smt.eax, smt.ebx, smt.ecx), (0, 1, 0x100));
                    assert_eq!((core.ebx, core.ecx), (cpus, 0x201));
                    assert_eq!(id >> core.eax, 0, "one package");
                    assert_eq!(core.eax, order(cpus - 1));
                    assert_eq!((end.ebx, end.ecx), (0, 2));
                    assert!([smt, core, end].iter().all(|e| e.edx == id));
                    assert!([smt, core, end].iter().all(|e| e.flags == HAS_INDEX));
                }
            }
        }
    }

    #[test]
    fn amd_s_own_leaves_agree() {
        for cpus in 1..=64u8 {
            let id = cpus - 1;
            let entries = cpuid(b"Auth", cpus, id);
            let (cpus, id) = (u32::from(cpus), u32::from(id));
            let size = find(&entries, 0x8000_0008, 0);
            assert_eq!(
                (size.ecx & 0xff, size.ecx >> 12),
                (cpus - 1, order(cpus - 1))
            );
            assert_eq!(size.eax, 0x3030, "address sizes stay");
            let cores = find(&entries, 0x8000_0001, 0).ecx >> 1 & 1;
            assert_eq!(cores, u32::from(cpus > 1));
            let unit = find(&entries, 0x8000_001e, 0);
            assert_eq!((unit.eax, unit.ebx, unit.ecx), (id, id, 0));
        }
        let intel = find(&cpuid(b"Genu", 4, 0), 0x8000_0008, 0);
        assert_eq!(intel.ecx, 0x705f, "reserved there");
    }

    #[test]
    fn the_last_cache_is_shared_by_all_and_the_first_by_none() {
        for cpus in [1, 2, 3, 64u8] {
            let entries = cpuid(b"Genu", cpus, 0);
            let cpus = u32::from(cpus);
            for (function, last) in [(4, 1), (0x8000_001d, 3)] {
                let sharing = |index| find(&entries, function, index).eax >> 14 & 0xfff;
                assert_eq!((sharing(0), sharing(last)), (0, cpus - 1));
                let kind = |index| find(&entries, function, index).eax & 0x3fff;
                assert_eq!((kind(0), kind(last)), (0x121, 0x163));
            }
            assert_eq!(find(&entries, 4, 0).eax >> 26, cpus - 1);
        }
    }

    #[test]
    fn a_full_table_of_the_host_s_still_has_room() {
        let mut full = host(b"Genu");
        full.extend((0x20..0x100).map(|function| leaf(function, [0; 4])));
        full.truncate(KVM_MAX_CPUID_ENTRIES);
        let template = CpuidTemplate::from_entries(&full, 4, 2_400_000);
        let entries = template.for_cpu(1).unwrap();
        assert!(entries.as_slice().len() < 40);
    }

    #[test]
    fn clocks_and_interrupts_that_kvm_offers_stay() {
        let entries = cpuid(b"Auth", 2, 1);
        let features = find(&entries, 1, 0).ecx;
        for (bit, name) in [(21, "x2APIC"), (24, "TSC deadline"), (31, "hypervisor")] {
            assert_eq!(features >> bit & 1, 1, "{name}");
        }
        assert_eq!(find(&entries, 0x8000_0007, 0).edx, 1 << 8, "invariant TSC");
    }

    #[test]
    fn what_the_machine_has_not_is_not_offered() {
        let entries = cpuid(b"Auth", 1, 0);
        assert_eq!(find(&entries, 1, 0).ecx & (1 << 5 | 1 << 3), 0);
        assert_eq!(find(&entries, 0x8000_0001, 0).ecx & 1 << 2, 0);
        for gone in [0xa, 0x8000_000a, 0x8000_001f] {
            assert!(entries.iter().all(|e| e.function != gone), "{gone:#x}");
        }
    }

    #[test]
    fn frequencies_are_told_to_each_vendor_in_its_own_way() {
        let intel = cpuid(b"Genu", 1, 0);
        let tsc = find(&intel, 0x15, 0);
        assert_eq!((tsc.eax, tsc.ebx), (5, 12));
        let hz = u64::from(tsc.ecx) * u64::from(tsc.ebx) / u64::from(tsc.eax);
        assert_eq!(hz, 2_400_000_000);
        assert_eq!(find(&intel, 0, 0).eax, 0x15);
        let amd = cpuid(b"Auth", 1, 0);
        assert!(amd.iter().all(|e| e.function != 0x15));
        assert_eq!(find(&amd, TIMING_LEAF, 0).eax, 2_400_000);
        assert_eq!(find(&amd, 0x4000_0000, 0).eax, TIMING_LEAF);
    }

    /// As Linux computes it (native_calibrate_tsc), in 32 bits.
    #[test]
    fn linux_finds_the_frequency_in_the_crystal_s_fraction() {
        let odd = (600_000..5_200_000).step_by(99_991);
        for tsc_khz in [1_000_000, 2_400_000, 2_394_375, 3_399_906, 4_294_967]
            .into_iter()
            .chain(odd)
        {
            let (numerator, denominator) = crystal_ratio(tsc_khz);
            let crystal_khz = APIC_BUS_HZ / 1000;
            let found = crystal_khz.checked_mul(numerator).unwrap() / denominator;
            // What is left to a guest's NTP, which corrects 500 parts in a
            // million.
            let millionths = u64::from(found.abs_diff(tsc_khz)) * 1_000_000 / u64::from(tsc_khz);
            assert!(millionths <= 120, "{tsc_khz}: {found}");
        }
        assert_eq!(crystal_ratio(0), (0, 1));
        let (_, denominator) = crystal_ratio(u32::MAX);
        assert!(denominator > 0);
    }
}
