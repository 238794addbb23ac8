//! Devices that come and go while the guest runs.
//!
//! Attaching puts a device into a free slot of the PCI bus and tells the guest
//! to look. Detaching asks the guest to give the slot up, and waits: only when
//! it has done so, or has been reset, is the device taken out, and
//! [closed](super::closing). A device that is detached by force is closed at
//! once and fails what the guest asks of it from then on; its shell stays in
//! the slot until the guest gives that up.

use std::time::{Duration, Instant};

use super::{Activity, Control, Due};
use crate::attach::AttachedDevice;
use crate::catalog::NamedDevice;
use crate::command::{Answer, Reply};
use crate::config::DeviceConfig;
use crate::description::DeviceKind;
use crate::device_name::DeviceName;
use crate::error::{Error, Result};
use crate::event::Event;

/// Somebody who waits for the guest to give a device up.
pub(super) struct Leaving {
    device: DeviceName,
    slot: u8,
    patience: Duration,
    answer: Answer,
    /// Tells this from others that were asked for since.
    ticket: u64,
}

impl Control {
    /// Puts a new device into a free slot.
    pub(super) fn attach(&mut self, config: DeviceConfig) -> Result<Reply> {
        if !matches!(config, DeviceConfig::Block(_) | DeviceConfig::Net(_)) {
            return Err(Error::Config(
                "only disks and network interfaces are attached while a machine runs".into(),
            ));
        }
        let description = config.description();
        let description = description.map_err(|error| Error::Config(error.to_string()))?;
        if self.find(&description.name).is_ok() {
            return Err(Error::NameTaken(description.name));
        }
        if self.is_closing(&description.name) {
            return Err(Error::NameClosing(description.name));
        }
        let parts = &mut self.machine.parts;
        let (Some(backplane), Some(events)) = (&mut parts.backplane, &parts.events) else {
            return Err(Error::Stopped);
        };
        let taken = parts.devices.iter().map(|device| device.place);
        let (place, slot) = backplane.free_slot(taken)?;
        let device = backplane.attach(self.machine.assembler.make(config)?, place)?;
        let description = device.describe();
        parts.devices.push(device);
        events.pci_slots.announce(slot);
        self.machine
            .parts
            .devices
            .last()
            .into_iter()
            .for_each(|device| self.watch(device));
        self.remind_until_heard();
        self.tell(&Event::DeviceAttached(description.name.clone()));
        Ok(Reply::Attached(description))
    }

    /// Asks the guest to give `device` up by the end of `patience`.
    pub(super) fn detach(&mut self, device: DeviceName, patience: Duration, answer: Answer) {
        let slot = match self.slot_to_give_up(&device) {
            Ok(slot) => slot,
            Err(error) => return answer.send(Err(error)),
        };
        if let Some(events) = &self.machine.parts.events {
            events.pci_slots.request_eject(slot);
        }
        self.tickets += 1;
        let ticket = self.tickets;
        // One beyond the end of time is none.
        if let Some(at) = Instant::now().checked_add(patience) {
            self.deadlines.add(at, Due::Detached { ticket });
        }
        self.leaving.push(Leaving {
            device,
            slot,
            patience,
            answer,
            ticket,
        });
        self.remind_until_heard();
    }

    /// The slot of a device that comes and goes.
    fn changing_slot(&self, name: &DeviceName) -> Result<u8> {
        let device = self.find(name)?;
        match device.description.kind {
            DeviceKind::Disk | DeviceKind::Net => device.slot().ok_or_else(fixed),
            _ => Err(Error::Config(format!(
                "'{name}' stays: only disks and network interfaces come and go"
            ))),
        }
    }

    /// The slot of a device that the guest can do without.
    fn slot_to_give_up(&self, name: &DeviceName) -> Result<u8> {
        let slot = self.changing_slot(name)?;
        if self.machine.root == Some(name.clone()) {
            return Err(Error::RootDisk(name.clone()));
        }
        match self.activity {
            Activity::Running => Ok(slot),
            _ => Err(Error::GuestRests(name.clone())),
        }
    }

    /// Takes from `name` what it stands on, without asking the guest. Even if
    /// what it has in flight does not finish: the guest has lost it then.
    pub(super) fn force_detach(&mut self, name: &DeviceName, answer: Answer) {
        let slot = match self.changing_slot(name) {
            Ok(slot) => slot,
            Err(error) => return answer.send(Err(error)),
        };
        let devices = self.machine.parts.devices.iter_mut();
        let Some(device) = devices.into_iter().find(|d| d.slot() == Some(slot)) else {
            return;
        };
        device.severed = true;
        let last_act = device.sever();
        if let Some(events) = &self.machine.parts.events {
            events.pci_slots.request_eject(slot);
        }
        self.remind_until_heard();
        let mut waiting = self.stop_waiting(slot);
        waiting.push(answer);
        self.close(name.clone(), last_act, waiting);
    }

    /// The guest gave slots up, whether it was asked to or not.
    pub(super) fn slots_given_up(&mut self) {
        let ejected = self.machine.parts.events.as_ref();
        let ejected: Vec<u8> = ejected
            .map(|events| events.pci_slots.take_ejected().collect())
            .unwrap_or_default();
        for slot in ejected {
            self.take_out(slot);
        }
    }

    fn take_out(&mut self, slot: u8) {
        let devices = &mut self.machine.parts.devices;
        let Some(at) = devices.iter().position(|d| d.slot() == Some(slot)) else {
            return;
        };
        let device = devices.remove(at);
        if device.severed {
            return;
        }
        let name = device.description.name.clone();
        let last_act = device.sever();
        drop(device);
        let waiting = self.stop_waiting(slot);
        self.close(name, last_act, waiting);
    }

    /// Whoever waits for the device in `slot` to leave, who need not any more.
    fn stop_waiting(&mut self, slot: u8) -> Vec<Answer> {
        let waiting = std::mem::take(&mut self.leaving);
        let (gone, others) = waiting.into_iter().partition(|one| one.slot == slot);
        self.leaving = others;
        let gone: Vec<Leaving> = gone;
        for Leaving { ticket, .. } in &gone {
            self.deadlines.cancel(&Due::Detached { ticket: *ticket });
        }
        gone.into_iter().map(|one| one.answer).collect()
    }

    /// The guest had long enough.
    pub(super) fn detach_is_due(&mut self, ticket: u64) {
        let Some(at) = self.leaving.iter().position(|one| one.ticket == ticket) else {
            return;
        };
        let waiter = self.leaving.remove(at);
        let withdrawn = self.withdraw(waiter.slot);
        waiter.answer.send(Err(Error::GuestKeeps {
            device: waiter.device,
            patience: waiter.patience,
            withdrawn,
        }));
    }

    /// Takes back that the guest give `slot` up, unless somebody else waits
    /// for it. Returns whether the guest never hears of it.
    fn withdraw(&self, slot: u8) -> bool {
        let wanted = self.leaving.iter().any(|one| one.slot == slot);
        let events = self.machine.parts.events.as_ref();
        !wanted && events.is_some_and(|events| events.pci_slots.withdraw_eject(slot))
    }

    /// Of the devices of a machine that was taken apart for a reset, those that
    /// are to be there again: a guest that was reset has given up the others.
    pub(super) fn staying(&mut self, devices: Vec<NamedDevice>) -> Vec<NamedDevice> {
        let is_leaving = |device: &NamedDevice| {
            let name = &device.description.name;
            self.leaving.iter().any(|one| one.device == *name)
        };
        let (leaving, staying) = devices.into_iter().partition(is_leaving);
        let leaving: Vec<NamedDevice> = leaving;
        for mut device in leaving {
            let name = device.description.name.clone();
            let last_act = device.device.sever();
            drop(device);
            let slot = self.leaving.iter().find(|one| one.device == name);
            let slot = slot.map(|one| one.slot);
            let waiting = slot.map(|slot| self.stop_waiting(slot));
            self.close(name, last_act, waiting.unwrap_or_default());
        }
        staying
    }

    /// The device called `name`.
    pub(super) fn find(&self, name: &DeviceName) -> Result<&AttachedDevice> {
        let mut present = self.present();
        let found = present.clone().find(|d| d.description.name == *name);
        found.ok_or_else(|| Error::UnknownDevice {
            name: name.clone(),
            known: present
                .by_ref()
                .map(|device| device.description.name.to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

/// Why a device that is not on the PCI bus stays.
fn fixed() -> Error {
    Error::Config(
        "devices come and go on the PCI bus only; start the machine with --transport pci".into(),
    )
}
