//! A machine as it is now, in plain values, for whoever operates it.

use devices::block::waits::OnError;
use devices::rate_limit::{Limit, Limits};
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
    /// A disk's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// Whether the guest can only read a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// What becomes of operations on a disk that the host fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnErrorDescription>,
    /// Why operations on a disk wait for the host, if any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// How many queues a disk has, or queue pairs a network interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<u16>,
    /// How much a disk may do, if it is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsDescription>,
    /// Whether the host's kernel carries the packets of a network interface by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vhost: Option<bool>,
    /// How much a network interface may bring to the guest, if it is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<LimitsDescription>,
    /// How much the guest may send through a network interface, if it is
    /// limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit: Option<LimitsDescription>,
}

impl DeviceDescription {
    /// A device of which no more is to be said.
    pub(crate) fn new(name: DeviceName, kind: DeviceKind) -> Self {
        Self {
            name,
            kind,
            capacity_bytes: None,
            read_only: None,
            on_error: None,
            waits: None,
            queues: None,
            vhost: None,
            limits: None,
            receive: None,
            transmit: None,
        }
    }
}

/// What becomes of operations on a disk that the host fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnErrorDescription {
    /// The guest is told.
    #[default]
    Report,
    /// They wait until the host can do them.
    Wait,
}

impl From<OnError> for OnErrorDescription {
    fn from(on_error: OnError) -> Self {
        match on_error {
            OnError::Report => Self::Report,
            OnError::Wait => Self::Wait,
        }
    }
}

impl From<OnErrorDescription> for OnError {
    fn from(on_error: OnErrorDescription) -> Self {
        match on_error {
            OnErrorDescription::Report => Self::Report,
            OnErrorDescription::Wait => Self::Wait,
        }
    }
}

/// Limits in plain values. What is left out is not limited; a burst that is
/// left out is what the rate gives in 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsDescription {
    /// Operations, or packets, in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations_per_second: Option<u64>,
    /// As many at once after a rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations_burst: Option<u64>,
    /// Bytes in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// As many at once after a rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_burst: Option<u64>,
}

impl From<Limits> for LimitsDescription {
    fn from(limits: Limits) -> Self {
        let (operations, bytes) = (limits.operations(), limits.bytes());
        Self {
            operations_per_second: operations.map(Limit::rate),
            operations_burst: operations.map(Limit::burst),
            bytes_per_second: bytes.map(Limit::rate),
            bytes_burst: bytes.map(Limit::burst),
        }
    }
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
