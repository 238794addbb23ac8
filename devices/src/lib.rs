//! Device models for a virtual machine: buses, PCI, platform devices, virtio
//! transports, block, net, rng, balloon, hot-plugged memory, sockets, consoles.
//!
//! This crate knows neither KVM nor how a guest is booted. It meets the
//! machine through three small things: a [`bus`] that carries register
//! accesses, [`memory::Ram`] that holds the guest's memory, and an
//! [`interrupt::InterruptLine`] that somebody else turns into an interrupt.
//!
//! Invariants: a guest can cause a counted fault but never a panic or an
//! unbounded amount of work; sibling models never import each other; no code
//! on the data path takes a lock.

pub mod balloon;
pub mod block;
pub mod bus;
pub mod clock;
pub mod console;
pub mod counter;
pub mod histogram;
#[cfg(feature = "fake-driver")]
pub mod hot_paths;
pub mod interrupt;
pub mod log_limit;
pub mod memory;
pub mod net;
pub mod pci;
pub mod platform;
pub mod rate_limit;
pub mod reactor;
pub mod rng;
pub mod thread;
pub mod virtio;
pub mod virtio_console;
pub mod virtio_mem;
pub mod vsock;
