//! virtio 1.3: what every virtio device shares.
//!
//! From the driver inwards: a register map ([`mmio`]) over one status machine
//! ([`transport`]), which starts and stops a [`device`]; its worker pops
//! [`chain`]s of [`buffers`] off a [`queue`] and answers through an
//! [`interrupt`].

pub mod buffers;
pub mod chain;
pub mod device;
pub mod interrupt;
pub mod queue;
