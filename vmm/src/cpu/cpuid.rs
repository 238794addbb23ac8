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

/// CPUID of a machine, before it is fitted to each vCPU.
pub(crate) struct CpuidTemplate {
    entries: Vec<kvm_cpuid_entry2>,
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
            fit(entry, id, self.cpus);
        }
        CpuId::from_entries(&entries)
            .map_err(|error| Error::internal("CPUID table", format!("{error:?}")))
    }

    fn remove_what_is_not_there(&mut self) {
        for entry in &mut self.entries {
            match entry.function {
                // VMX, MONITOR, and DTES64/DS-CPL/PDCM that go with counters.
                1 => entry.ecx &= !(1 << 5 | 1 << 3 | 1 << 15),
                // No performance counters.
                0xa => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
                // SVM, and the core performance counter extensions.
                0x8000_0001 => entry.ecx &= !(1 << 2 | 1 << 23 | 1 << 24 | 1 << 28),
                _ => {}
            }
        }
        // SVM's own leaf, and AMD's performance monitoring.
        self.entries
            .retain(|e| !matches!(e.function, 0x8000_000a | 0x8000_0022));
    }

    fn add_frequencies(&mut self, tsc_khz: u32) {
        self.set_leaf(TIMING_LEAF, 0, [tsc_khz, APIC_BUS_HZ / 1000, 0, 0]);
        if let Some(base) = self.leaf_mut(0x4000_0000) {
            base.eax = base.eax.max(TIMING_LEAF);
        }
        // Leaf 0x15 is Intel's; an AMD guest would not look. The crystal also
        // drives the APIC timer, so that it must be KVM's.
        if self.is_intel() {
            const KHZ_PER_GHZ: u32 = 1_000_000;
            self.set_leaf(0x15, 0, [KHZ_PER_GHZ, tsc_khz, APIC_BUS_HZ, 0]);
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

    fn is_intel(&self) -> bool {
        let leaf = self.entries.iter().find(|e| e.function == 0);
        leaf.is_some_and(|e| e.ebx == u32::from_le_bytes(*b"Genu"))
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

/// Makes `entry` true of vCPU `id` of `cpus`.
fn fit(entry: &mut kvm_cpuid_entry2, id: u32, cpus: u32) {
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
        // AMD: cores in the package and bits of the APIC id that name them.
        0x8000_0008 => entry.ecx = entry.ecx & !0xf0ff | (cpus - 1) | id_bits(cpus) << 12,
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
            leaf(1, [0, 0x0800, 1 << 5 | 1 << 3, 1 << 28]),
            leaf(0xa, [0x0730_0404, 0, 0, 0x603]),
            leaf(0x4000_0000, [0x4000_0001, 0, 0, 0]),
            leaf(0x8000_0001, [0, 0, 1 << 2, 0]),
            leaf(0x8000_0008, [0, 0, 0, 0]),
            leaf(0x8000_000a, [1, 0, 0, 0]),
            leaf(0x8000_001e, [0, 0, 0, 0]),
        ]
    }

    fn cpuid(vendor: &[u8; 4], cpus: u8, id: u8) -> Vec<kvm_cpuid_entry2> {
        let template = CpuidTemplate::from_entries(&host(vendor), cpus, 2_400_000);
        template.for_cpu(id).unwrap().as_slice().to_vec()
    }

    fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
        *entries
            .iter()
            .find(|e| (e.function, e.index) == (function, index))
            .unwrap()
    }

    #[test]
    fn every_vcpu_is_a_core_of_one_package_and_knows_its_number() {
        for (cpus, bits) in [(1, 0), (2, 1), (3, 2), (4, 2), (64, 6)] {
            for id in [0, cpus - 1] {
                let entries = cpuid(b"Auth", cpus, id);
                let (cpus, id) = (u32::from(cpus), u32::from(id));
                let one = find(&entries, 1, 0);
                assert_eq!(one.ebx >> 24, id);
                assert_eq!(one.ebx >> 16 & 0xff, cpus);
                assert_eq!(one.edx >> 28 & 1, u32::from(cpus > 1));
                let core = find(&entries, 0xb, 1);
                assert_eq!((core.eax, core.ebx, core.edx), (bits, cpus, id));
                assert_eq!(find(&entries, 0xb, 0).edx, id);
                let amd = find(&entries, 0x8000_0008, 0).ecx;
                assert_eq!((amd & 0xff, amd >> 12 & 0xf), (cpus - 1, bits));
                assert_eq!(find(&entries, 0x8000_001e, 0).eax, id);
            }
        }
    }

    #[test]
    fn what_the_machine_has_not_is_not_offered() {
        let entries = cpuid(b"Auth", 1, 0);
        assert_eq!(find(&entries, 1, 0).ecx & (1 << 5 | 1 << 3), 0);
        assert_eq!(find(&entries, 0x8000_0001, 0).ecx & 1 << 2, 0);
        assert_eq!(find(&entries, 0xa, 0).eax, 0);
        assert!(entries.iter().all(|e| e.function != 0x8000_000a));
    }

    #[test]
    fn frequencies_are_told_to_each_vendor_in_its_own_way() {
        let intel = cpuid(b"Genu", 1, 0);
        let tsc = find(&intel, 0x15, 0);
        let hz = u64::from(tsc.ecx) * u64::from(tsc.ebx) / u64::from(tsc.eax);
        assert_eq!(hz, 2_400_000_000);
        assert_eq!(find(&intel, 0, 0).eax, 0x15);
        let amd = cpuid(b"Auth", 1, 0);
        assert!(amd.iter().all(|e| e.function != 0x15));
        assert_eq!(find(&amd, TIMING_LEAF, 0).eax, 2_400_000);
        assert_eq!(find(&amd, 0x4000_0000, 0).eax, TIMING_LEAF);
    }
}
