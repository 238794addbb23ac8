//! PCI: one bus of single-function devices behind a root complex, as a guest
//! finds them by memory-mapped configuration space (ECAM, PCI Express Base
//! Specification §7.2.2).
//!
//! A slot is a page of that space: a function claims its page on the machine's
//! MMIO [`bus`](crate::bus), and where none does, a read gives all ones, which
//! is how PCI says that nobody is there. So there is no table of slots here:
//! plugging in is claiming a page, and pulling out is releasing it.
//!
//! Functions interrupt by MSI-X only. Nothing in here knows virtio.

pub mod config_space;
pub mod function;
pub mod host_bridge;
pub mod msix;

/// Bytes of configuration space that a function has in ECAM.
pub const CONFIG_PAGE: u64 = 4096;

/// Slots on the bus, the host bridge's among them (§7.2.2: 5 bits).
pub const SLOTS: u8 = 32;

/// The offset in ECAM of the function in `slot` of bus 0.
pub fn ecam_offset(slot: u8) -> u64 {
    // Eight functions each, of which only the first exists.
    u64::from(slot) << 15
}
