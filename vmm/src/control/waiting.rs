//! Disks that wait for the host: said when the first operation of one does, and
//! when none does any more.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::Control;
use super::channel::Reporter;
use crate::attach::AttachedDevice;
use crate::catalog::DeviceHandle;
use crate::event::Event;

impl Control {
    /// Hears from all devices that there are now.
    pub(super) fn watch_all(&self) {
        self.present().for_each(|device| self.watch(device));
    }

    /// Hears from `device` when it begins to wait, or ceases to.
    pub(super) fn watch(&self, device: &AttachedDevice) {
        if let DeviceHandle::Disk(disk) = &device.handle {
            let reporter = Reporter::new(None, self.sender.clone());
            let report = reporter.wait_reporter(&self.wait_reported);
            disk.waits().watch(report);
        }
    }

    /// Some disk waits that did not, or the other way round.
    pub(super) fn waits_changed(&mut self) {
        // First: what changes from here on is reported anew.
        self.wait_reported.store(false, Ordering::SeqCst);
        let reasons = self.present().filter_map(|device| match &device.handle {
            DeviceHandle::Disk(disk) => {
                let name = device.description.name.clone();
                disk.waits().reason().map(|reason| (name, reason))
            }
            _ => None,
        });
        let mut reasons: BTreeMap<_, _> = reasons.collect();
        for device in std::mem::take(&mut self.waiting) {
            if reasons.remove(&device).is_some() {
                self.waiting.insert(device);
            } else {
                self.tell(&Event::DeviceGoesOn(device));
            }
        }
        for (device, reason) in reasons {
            self.waiting.insert(device.clone());
            self.tell(&Event::DeviceWaits { device, reason });
        }
    }
}
