//! The machine a guest will find, as far as it must be told in memory.
//!
//! Filled in by the VMM. Values are checked where they are made, so that a
//! plan can only fail over the kernel or over how they go together.

use std::ops::Range;

use crate::layout::{
    COM1_GSI, EVENT_GSI, GSI_COUNT, PAGE, PCI_SLOTS, VIRTIO_MMIO_FIRST_GSI, VIRTIO_MMIO_SIZE,
    VIRTIO_MMIO_WINDOW,
};
use crate::{CommandLine, Error, MemoryLayout, Result, smbios};

/// What the guest will find.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// Its RAM.
    pub memory: MemoryLayout,
    /// Its vCPUs. The local APIC id of vCPU n is n.
    pub cpus: CpuCount,
    /// How many there may be in the end, if some are added while it runs. No
    /// more than `cpus` means the same as none.
    pub max_cpus: Option<CpuCount>,
    /// What the kernel is told.
    pub command_line: &'a CommandLine,
    /// Length of the initrd in bytes, if there is one.
    pub initrd: Option<u64>,
    /// How the kernel is entered.
    pub protocol: Protocol,
    /// Its virtio-mmio devices, in the order the guest numbers them.
    pub virtio_mmio: &'a [MmioDevice],
    /// Its PCI host bridge, if there is one.
    pub pci: Option<PciHost>,
    /// A power button, pressed by
    /// [`EVENT_POWER_BUTTON`](crate::layout::EVENT_POWER_BUTTON).
    pub power_button: bool,
    /// Its VM generation id, if it has one: different for each machine that
    /// goes on from the same saved state.
    pub generation_id: Option<[u8; 16]>,
    /// A watchdog at [`WATCHDOG_PORT`](crate::layout::WATCHDOG_PORT).
    pub watchdog: bool,
    /// A port at [`PANIC_PORT`](crate::layout::PANIC_PORT) through which the
    /// guest tells that its kernel panicked.
    pub panic_port: bool,
    /// A 16550 at [`COM1_PORT`](crate::layout::COM1_PORT).
    pub serial: bool,
    /// A CMOS clock at [`RTC_PORT`](crate::layout::RTC_PORT), without an
    /// interrupt.
    pub rtc: bool,
    /// Who made it, for the SMBIOS tables.
    pub identity: &'a smbios::Identity,
}

impl Machine<'_> {
    /// The ids of the vCPUs that may be added.
    pub(crate) fn later_cpus(&self) -> Range<u8> {
        let first = self.cpus.get();
        first..self.max_cpus.map_or(first, CpuCount::get)
    }
}

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The best one for the format: 64-bit Linux for ELF and bzImage.
    #[default]
    Auto,
    /// The 64-bit Linux boot protocol, for ELF and bzImage.
    Linux64,
    /// PVH: 32-bit, for an ELF with a PVH note.
    Pvh,
}

/// A number of vCPUs: 1 to [`CpuCount::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuCount(u8);

impl CpuCount {
    /// Most vCPUs a guest can have.
    pub const MAX: u8 = 64;

    /// Takes `count`.
    ///
    /// # Errors
    ///
    /// [`Error::CpuCount`] for zero, and for more than [`CpuCount::MAX`].
    pub fn new(count: u64) -> Result<Self> {
        match u8::try_from(count) {
            Ok(small @ 1..=Self::MAX) => Ok(CpuCount(small)),
            _ => Err(Error::CpuCount { count }),
        }
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A PCI host bridge with one bus, number 0. Its configuration space is at
/// [`PCI_ECAM`](crate::layout::PCI_ECAM), its devices' registers in
/// [`PCI_WINDOW`](crate::layout::PCI_WINDOW) and
/// [`PCI_PORTS`](crate::layout::PCI_PORTS). Devices have message-signalled
/// interrupts only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciHost {
    /// The slots whose devices come and go while the guest runs. Slot 0 is the
    /// host bridge's and not among them.
    pub hotplug: SlotSet,
}

/// Some of the slots 1 to 31 of a PCI bus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotSet(u32);

impl SlotSet {
    /// No slot.
    pub const NONE: Self = SlotSet(0);
    /// Every slot but the host bridge's.
    pub const ALL: Self = SlotSet(!1);

    /// Whether `slot` is one of them.
    pub fn contains(self, slot: u8) -> bool {
        slot < PCI_SLOTS && self.0 >> slot & 1 == 1
    }

    /// Their numbers, lowest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..PCI_SLOTS).filter(move |&slot| self.contains(slot))
    }
}

impl FromIterator<u8> for SlotSet {
    /// The slots with these numbers; what is no number of a slot, or the host
    /// bridge's, is left out.
    fn from_iter<I: IntoIterator<Item = u8>>(slots: I) -> Self {
        let valid = slots
            .into_iter()
            .filter(|slot| (1..PCI_SLOTS).contains(slot));
        SlotSet(valid.fold(0, |set, slot| set | 1 << slot))
    }
}

/// Where a virtio-mmio device has its registers, and its interrupt: edge
/// triggered, active high, not shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmioDevice {
    /// First address of its registers.
    pub base: u64,
    /// Size of its register window in bytes.
    pub size: u64,
    /// Its global system interrupt.
    pub gsi: u32,
}

impl MmioDevice {
    /// Most virtio-mmio devices a guest can have: each has a GSI of its own.
    pub const MAX: u32 = GSI_COUNT - VIRTIO_MMIO_FIRST_GSI;

    /// The usual place for device `index`, or `None` from
    /// [`MmioDevice::MAX`] on.
    pub fn at_slot(index: u32) -> Option<Self> {
        (index < Self::MAX).then(|| MmioDevice {
            base: VIRTIO_MMIO_WINDOW.start + u64::from(index) * VIRTIO_MMIO_SIZE,
            size: VIRTIO_MMIO_SIZE,
            gsi: VIRTIO_MMIO_FIRST_GSI + index,
        })
    }

    fn overlaps(&self, other: &MmioDevice) -> bool {
        self.base < other.base + other.size && other.base < self.base + self.size
    }
}

/// Refuses devices outside the virtio-mmio window, and ones that share
/// addresses or interrupts.
pub(crate) fn check_devices(devices: &[MmioDevice]) -> Result<()> {
    for (index, device) in devices.iter().enumerate() {
        let refuse = |reason| Err(Error::MmioDevice { index, reason });
        let window = &VIRTIO_MMIO_WINDOW;
        let aligned = device.base.is_multiple_of(PAGE) && device.size.is_multiple_of(PAGE);
        if !aligned || device.size == 0 {
            return refuse("its registers are not whole pages");
        }
        if !window.contains(&device.base) || device.size > window.end - device.base {
            return refuse("its registers are outside the virtio-mmio window");
        }
        if device.gsi >= GSI_COUNT || [COM1_GSI, EVENT_GSI].contains(&device.gsi) {
            return refuse("its interrupt does not exist or belongs to the machine");
        }
        if devices[..index].iter().any(|other| device.overlaps(other)) {
            return refuse("its registers overlap those of an earlier device");
        }
        if devices[..index].iter().any(|other| device.gsi == other.gsi) {
            return refuse("its interrupt is that of an earlier device");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vcpus_are_counted_from_1_to_64() {
        assert_eq!(CpuCount::new(1).unwrap().get(), 1);
        assert_eq!(CpuCount::new(64).unwrap().get(), 64);
        for count in [0, 65, 257, 1000, u64::MAX] {
            assert!(
                matches!(CpuCount::new(count), Err(Error::CpuCount { count: c }) if c == count)
            );
        }
    }

    #[test]
    fn a_set_of_slots_has_what_was_put_in_except_what_is_no_slot() {
        let set = SlotSet::from_iter([31, 3, 0, 32, 3, 255]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 31]);
        assert!(set.contains(3) && !set.contains(0) && !set.contains(32));
        assert_eq!(SlotSet::ALL, (1..32).collect());
        assert_eq!(SlotSet::NONE.iter().count(), 0);
    }

    #[test]
    fn every_slot_can_be_used_at_once() {
        let devices: Vec<_> = (0..).map_while(MmioDevice::at_slot).collect();
        assert_eq!(devices.len(), 19);
        check_devices(&devices).unwrap();
    }

    #[test]
    fn devices_in_the_wrong_place_are_refused() {
        let first = MmioDevice::at_slot(0).unwrap();
        let second = MmioDevice::at_slot(1).unwrap();
        for wrong in [
            first,
            MmioDevice {
                gsi: first.gsi,
                ..second
            },
            MmioDevice {
                gsi: COM1_GSI,
                ..second
            },
            MmioDevice {
                gsi: EVENT_GSI,
                ..second
            },
            MmioDevice {
                gsi: GSI_COUNT,
                ..second
            },
            MmioDevice {
                base: first.base,
                ..second
            },
            MmioDevice {
                base: 0x1000,
                ..second
            },
            MmioDevice {
                base: second.base + 1,
                ..second
            },
            MmioDevice { size: 0, ..second },
            MmioDevice {
                size: u64::MAX - 0xFFF,
                ..second
            },
        ] {
            assert!(
                matches!(
                    check_devices(&[first, wrong]),
                    Err(Error::MmioDevice { index: 1, .. })
                ),
                "{wrong:?}"
            );
        }
    }
}
