//! A machine as it is now, in plain values, for whoever operates it.

use serde::{Deserialize, Serialize};

use crate::device_name::DeviceName;

/// What a machine is and what state it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Whether it runs.
    pub state: State,
    /// vCPUs that the guest can use.
    pub cpus: u8,
    /// How many there may be in the end.
    pub max_cpus: u8,
    /// Bytes of memory at boot.
    pub memory_bytes: u64,
    /// Its virtio devices, in the order in which they were attached.
    pub devices: Vec<DeviceDescription>,
}

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// vCPUs run.
    Running,
    /// vCPUs rest, but a device did not come to rest when it was to: guest
    /// memory may still change. To be resumed, or paused again.
    Halted,
    /// vCPUs and devices rest.
    Paused,
}

/// A virtio device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDescription {
    /// What it is called.
    pub name: DeviceName,
    /// What it is.
    pub kind: DeviceKind,
}

/// What a virtio device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeviceKind {
    /// A disk.
    Disk,
    /// A network interface.
    Net,
    /// A source of random numbers.
    Rng,
    /// Streams between programs of the guest and of the host.
    Vsock,
    /// A console that is no serial port.
    Console,
    /// A balloon.
    Balloon,
    /// Memory that grows.
    Mem,
}
