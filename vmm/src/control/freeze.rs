//! Snapshots begin here: volumes keep what they hold at one moment.
//!
//! What was answered before the moment, on any of them, is in; what a guest asks
//! for because of an answer after it, on any of them, is not. So all come to
//! rest before the first is frozen, and the first goes on after the last is.
//! vCPUs go on; what they ask of these disks meanwhile waits in the rings.
//!
//! What takes time is done before and after: room is made in files, and what was
//! only in memory at the moment is saved.

use std::time::{Duration, Instant};

use devices::block::mapped_disk::FreezeFiles;
use volume::freeze::FreezeError;

use super::{Activity, Control};
use crate::catalog::DeviceHandle;
use crate::device_name::DeviceName;
use crate::error::{Error, Result};

impl Control {
    /// Returns how long requests were held back.
    pub(super) fn freeze(&self, volumes: Vec<(DeviceName, FreezeFiles)>) -> Result<Duration> {
        let mut devices = Vec::with_capacity(volumes.len());
        for (name, files) in volumes {
            let device = self.find(&name)?;
            let DeviceHandle::Disk(disk) = &device.handle else {
                return Err(super::device::not_a(&name, "disk"));
            };
            let room = files.make_room(disk.capacity());
            room.map_err(|source| refused(&name, source))?;
            devices.push((name, device, disk, files));
        }
        // Those of a machine that rests do so already, and go on with it.
        let runs = self.activity == Activity::Running;
        let since = Instant::now();
        let mut outcome = Ok(());
        let mut resting = Vec::with_capacity(devices.len());
        for (_, device, _, _) in &devices {
            if runs && outcome.is_ok() {
                outcome = device.pause();
                resting.push(*device);
            }
        }
        let mut unsaved = Vec::with_capacity(devices.len());
        for (name, _, disk, files) in devices {
            if outcome.is_ok() {
                let frozen = disk.freeze(files);
                outcome = frozen
                    .map_err(|source| refused(&name, source))
                    .map(|frozen| unsaved.push((name, frozen)));
            }
        }
        resting.into_iter().for_each(|device| device.resume());
        let pause = since.elapsed();
        outcome?;
        for (name, frozen) in unsaved {
            let saved = frozen.save();
            saved.map_err(|source| refused(&name, source))?;
        }
        Ok(pause)
    }
}

fn refused(name: &DeviceName, source: FreezeError) -> Error {
    Error::Freeze {
        device: name.clone(),
        source,
    }
}
