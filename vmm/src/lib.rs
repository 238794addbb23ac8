//! An embeddable KVM virtual machine monitor.
//!
//! [`VmBuilder`] takes open descriptors and validated values and builds a
//! [`PausedVm`]; starting that gives a [`Vm`], which is paused, resumed,
//! stopped and waited for. Several machines live side by side in one process.
//! Dropping a `Vm` frees its threads, descriptors and memory.
//!
//! What this crate does to the process that embeds it: it installs a handler,
//! which does nothing, for the first real-time signal (`SIGRTMIN`), once, to
//! interrupt vCPU threads. It changes no other signal's disposition, sets no
//! logger, and never exits the process; [`process`] is for programs that ask
//! for more.

pub mod api;
mod attach;
mod blueprint;
mod builder;
mod catalog;
mod command;
pub mod config;
mod control;
mod cpu;
mod deadlines;
mod description;
mod device_name;
mod error;
mod event;
pub mod handover;
mod kvm;
mod memory;
pub mod metrics;
mod operator;
mod parts;
mod platform;
pub mod process;
pub mod sealed_key;
mod statistics;
mod timestamp;
mod vm;

pub use builder::VmBuilder;
pub use command::{Command, DeviceLimits, Reply, STORAGE_PATIENCE};
pub use config::{OnReset, VmConfig};
pub use cpu::crash::{Crash, CrashCause};
pub use description::{Description, DeviceDescription, DeviceKind, LimitsDescription, State};
pub use device_name::{BadDeviceName, DeviceName};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, StopReason};
pub use memory::{Backing, BalloonStatus, MemoryConfig, MemoryStatus};
pub use operator::Operator;
pub use statistics::Statistics;
pub use vm::{PausedVm, Vm};

// The validated types that a configuration is made of.
pub use boot::smbios::{Identity, Text};
pub use boot::{CommandLine, CpuCount, MemoryLayout, Protocol};
pub use devices::balloon::statistics::MemoryStatistics;
pub use devices::block::id::DiskId;
pub use devices::block::open::{DiskOptions, EngineChoice};
pub use devices::block::waits::OnError;
pub use devices::net::device::NetOptions;
pub use devices::net::mac::MacAddress;
pub use devices::net::mtu::Mtu;
pub use devices::rate_limit::{Limit, Limits};
pub use devices::virtio::queue_count::QueueCount;
pub use devices::vsock::{GuestCid, SocketStem};
pub use volume::cipher::key::Key as DiskKey;
