//! What is asked of single devices and of memory while the machine runs.

use devices::block::handle::BlockHandle;
use devices::rate_limit::Limits;

use super::Control;
use crate::catalog::{DeviceHandle, limits_with_vhost};
use crate::command::{Answer, DeviceLimits, Reply};
use crate::device_name::DeviceName;
use crate::error::{Error, Result};
use crate::memory::MemoryStatus;
use crate::metrics::{
    ConsoleMeasurements, DiskMeasurements, Measurements, NetMeasurements, RngMeasurements,
    VsockMeasurements,
};

impl Control {
    /// Says what the machine has done and holds. Memory takes a while to be
    /// looked at, for which nobody else waits.
    pub(super) fn measure(&self, answer: Answer) {
        let measurements = self.measurements();
        let complete = move |memory| {
            let measurements = Measurements {
                memory,
                ..measurements
            };
            answer.send(Ok(Reply::Measurements(Box::new(measurements))));
        };
        match self.memory() {
            Ok(memory) => memory.status(move |status| complete(status.ok())),
            Err(_) => complete(None),
        }
    }

    /// Says how much memory there is, as soon as that is known.
    pub(super) fn memory_status(&self, answer: Answer) {
        let tell = move |status: Result<MemoryStatus>| {
            answer.send(status.map(|status| Reply::Memory(Box::new(status))));
        };
        match self.memory() {
            Ok(memory) => memory.status(tell),
            Err(error) => tell(Err(error)),
        }
    }

    /// All but memory.
    fn measurements(&self) -> Measurements {
        let mut measurements = Measurements {
            built: Some(self.built),
            vcpus: self.machine.parts.vcpus.measure(),
            ..Measurements::default()
        };
        for device in self.present() {
            let name = device.description.name.clone();
            match &device.handle {
                DeviceHandle::Disk(disk) => {
                    measurements.disks.push(DiskMeasurements::of(name, disk));
                }
                DeviceHandle::Net(net) => {
                    measurements.nets.push(NetMeasurements::of(name, net));
                }
                DeviceHandle::Rng(rng) => {
                    measurements.rngs.push(RngMeasurements::of(name, rng));
                }
                DeviceHandle::Vsock(vsock) => {
                    measurements.vsocks.push(VsockMeasurements::of(name, vsock));
                }
                DeviceHandle::Console(console) => {
                    let console = ConsoleMeasurements::of(name, console);
                    measurements.consoles.push(console);
                }
                // Measured with the machine's memory.
                DeviceHandle::Balloon(_) | DeviceHandle::Mem(_) => {}
            }
        }
        measurements
    }

    /// Makes a disk larger: as long as is asked for, or as its file is.
    pub(super) fn resize(&self, name: &DeviceName, bytes: Option<u64>) -> Result<u64> {
        let resized = self.disk(name)?.resize(bytes);
        resized.map_err(|source| Error::Resize {
            device: name.clone(),
            source,
        })
    }

    /// Limits a device, or lets it go.
    pub(super) fn set_limits(&self, name: &DeviceName, limits: DeviceLimits) -> Result<()> {
        match limits {
            DeviceLimits::Disk(limits) => self.disk(name)?.set_limits(limits),
            DeviceLimits::Net { receive, transmit } => {
                self.limit_net(name, receive, transmit)?;
            }
        }
        Ok(())
    }

    fn limit_net(
        &self,
        name: &DeviceName,
        receive: Option<Limits>,
        transmit: Option<Limits>,
    ) -> Result<()> {
        let device = self.find(name)?;
        let limited = receive.is_some() || transmit.is_some();
        match &device.handle {
            DeviceHandle::Net(_) if limited && device.description.vhost == Some(true) => {
                return Err(limits_with_vhost(&format!("network interface '{name}'")));
            }
            DeviceHandle::Net(net) => net.set_limits(receive, transmit),
            _ => return Err(not_a(name, "network interface")),
        }
        Ok(())
    }

    fn disk(&self, name: &DeviceName) -> Result<&BlockHandle> {
        match &self.find(name)?.handle {
            DeviceHandle::Disk(disk) => Ok(disk),
            _ => Err(not_a(name, "disk")),
        }
    }
}

pub(super) fn not_a(name: &DeviceName, kind: &'static str) -> Error {
    Error::OtherKind {
        device: name.clone(),
        kind,
    }
}
