//! virtio 1.3: what every virtio device shares.
//!
//! From the driver inwards: a register map ([`mmio`]) over one status machine
//! ([`transport`]), which starts and stops a [`device`]; its worker takes
//! [`turn`]s at a [`queue`], pops [`chain`]s of [`buffers`] off it and answers
//! through an [`interrupt`].

pub mod buffers;
pub mod chain;
#[cfg(test)]
pub(crate) mod contract;
pub(crate) mod crew;
pub mod device;
#[cfg(any(test, feature = "fake-driver"))]
pub mod fake_driver;
pub mod interrupt;
pub mod last_act;
#[cfg(test)]
pub(crate) mod loopback;
pub mod mmio;
pub mod pci;
pub mod queue;
pub mod queue_count;
pub mod queue_registers;
pub mod transport;
pub mod turn;
