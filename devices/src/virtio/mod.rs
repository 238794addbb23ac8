//! virtio 1.3: what every virtio device shares.
//!
//! From the driver inwards: a register map ([`mmio`]) over one status machine
//! ([`transport`]), which starts and stops a [`device`]; its worker pops
//! [`chain`]s of [`buffers`] off a [`queue`] and answers through an
//! [`interrupt`].

pub mod buffers;
pub mod chain;
#[cfg(test)]
pub(crate) mod contract;
pub(crate) mod crew;
pub mod device;
#[cfg(any(test, feature = "fake-driver"))]
pub mod fake_driver;
pub mod interrupt;
#[cfg(test)]
mod loopback;
pub mod mmio;
pub mod pci;
pub mod queue;
pub mod queue_count;
pub mod queue_registers;
pub mod transport;
