//! What a machine has done and holds, measured when somebody asks: plain
//! values, and the text that Prometheus reads.
//!
//! Everything here is counted anyway, by KVM, by workers and by the host's
//! kernel; asking costs whoever asks, not the guest.

mod exposition;
mod gather;
mod openmetrics;

use std::time::{Duration, SystemTime};

use devices::histogram::Snapshot;

use crate::device_name::DeviceName;
use crate::memory::MemoryStatus;

pub use exposition::exposition;
pub use openmetrics::CONTENT_TYPE;

/// What a machine has done and holds. Counters begin anew with the process,
/// and those of vCPUs with each reset of the guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurements {
    /// When the machine was built.
    pub built: Option<SystemTime>,
    /// Each vCPU that there is, in order.
    pub vcpus: Vec<VcpuMeasurements>,
    /// Its memory, where the host tells.
    pub memory: Option<MemoryStatus>,
    /// Each disk.
    pub disks: Vec<DiskMeasurements>,
    /// Each network interface.
    pub nets: Vec<NetMeasurements>,
    /// Each source of random numbers.
    pub rngs: Vec<RngMeasurements>,
    /// Each vsock device.
    pub vsocks: Vec<VsockMeasurements>,
    /// Each virtio console.
    pub consoles: Vec<ConsoleMeasurements>,
}

/// What a vCPU has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VcpuMeasurements {
    /// Its number.
    pub id: u8,
    /// How often it left the guest, to KVM or further, where KVM tells
    /// (Linux 5.14).
    pub exits: Option<u64>,
    /// KVM's own counts of some kinds of exits, by its names for them without
    /// `_exits`. Kinds overlap, and are not all: which there are depends on
    /// the host's kernel and processor.
    pub exits_by_reason: Vec<(String, u64)>,
    /// Exits to this process, by what for.
    pub user_exits: [(&'static str, u64); 3],
    /// CPU time of its thread, in the guest and for it.
    pub cpu_time: Duration,
    /// How long it was halted by the guest and asleep, where KVM tells.
    pub halted: Option<Duration>,
}

/// What a disk has done.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskMeasurements {
    /// What it is called.
    pub name: DeviceName,
    /// Its size.
    pub capacity_bytes: u64,
    /// Each kind of operation.
    pub operations: Vec<OperationMeasurements>,
    /// Requests that failed, by why.
    pub errors: [(&'static str, u64); 3],
    /// Operations that wait for the host.
    pub waiting: u64,
    /// Operations that had to wait for the host so far.
    pub held: u64,
    /// What limits have held back.
    pub throttled: ThrottledMeasurements,
}

/// What a disk has done of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationMeasurements {
    /// Which kind.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// Of how many bytes; none where there are none to count.
    pub bytes: Option<u64>,
    /// How long they took.
    pub latency: Snapshot,
}

/// What a network interface has done.
#[derive(Clone, Debug, PartialEq)]
pub struct NetMeasurements {
    /// What it is called.
    pub name: DeviceName,
    /// To the guest.
    pub receive: DirectionMeasurements,
    /// From the guest.
    pub transmit: DirectionMeasurements,
    /// Commands of the guest's driver that made no sense.
    pub refused_commands: u64,
}

/// What a network interface has done in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DirectionMeasurements {
    /// Packets that passed.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that did not, by why.
    pub drops: Vec<(&'static str, u64)>,
    /// What limits have held back.
    pub throttled: ThrottledMeasurements,
}

/// What a source of random numbers has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RngMeasurements {
    /// What it is called.
    pub name: DeviceName,
    /// Requests that got random bytes.
    pub requests: u64,
    /// The bytes.
    pub bytes: u64,
    /// Requests that got none.
    pub unfilled: u64,
}

/// What a vsock device has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VsockMeasurements {
    /// What it is called.
    pub name: DeviceName,
    /// Each direction, with its packets and their bytes of data.
    pub directions: [(&'static str, u64, u64); 2],
    /// Connections that came about, by who wanted them.
    pub connections: [(&'static str, u64); 2],
    /// Connections that did not, by why.
    pub refused: [(&'static str, u64); 2],
    /// Mistakes of the driver.
    pub faults: u64,
}

/// What a virtio console has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleMeasurements {
    /// What it is called.
    pub name: DeviceName,
    /// Each direction, with its bytes.
    pub directions: [(&'static str, u64); 2],
    /// Bytes of the guest's that nobody took in time.
    pub lost_bytes: u64,
    /// Mistakes of the driver.
    pub faults: u64,
}

/// What limits have held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottledMeasurements {
    /// Operations or packets that had to wait.
    pub operations: u64,
    /// How long, all together.
    pub time: Duration,
}
