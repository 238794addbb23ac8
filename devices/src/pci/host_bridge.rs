//! The host bridge: function 00:00.0, by which a guest knows the root complex.
//!
//! It has nothing but an identity. Linux looks for none of its registers; a
//! bus without it would look empty to other guests.

use super::config_space::{ConfigSpace, Identity};
use crate::bus::BusDevice;

/// The generic PCI Express host bridge, by the id that stands for one without
/// registers of its own (QEMU docs/specs/pci-ids).
const VENDOR: u16 = 0x1b36;
const DEVICE: u16 = 0x0008;
/// Bridge, host bridge (PCI Code and ID Assignment 1.11 §1.7).
const CLASS: [u8; 3] = [6, 0, 0];

/// The configuration page of the host bridge.
pub struct HostBridge(ConfigSpace);

impl Default for HostBridge {
    fn default() -> Self {
        Self(ConfigSpace::new(&Identity {
            vendor: VENDOR,
            device: DEVICE,
            revision: 0,
            class: CLASS,
            subsystem_vendor: 0,
            subsystem: 0,
        }))
    }
}

impl BusDevice for HostBridge {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        self.0.read(offset, data);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.0.write(offset, data);
    }
}
