//! The virtio network device (virtio 1.3 §5.1).
//!
//! [`device`] is the front. For each queue pair a `worker` runs on a reactor
//! and moves packets between the two queues and a [`port`]: `transmit` from the
//! driver, `receive` to it through the buffers that the driver has [`posted`].
//! The usual port is a queue of a [`tap`], which the kernel can serve by itself
//! ([`vhost`]); a [`stream`] leads to a network stack of another process. Where
//! there are several pairs, the driver says through the `control` queue how many
//! of the `pairs` it uses. A [`handle`] limits and watches the device while it
//! runs.
//!
//! The cost in system calls: one `writev` for a packet from the guest, one
//! `readv` for a packet to it, straight from and to guest memory; for each
//! wake of the worker one `readv` that finds nothing, and at most one `write`
//! that interrupts the driver for each queue. Wakes are edge-triggered, so no
//! eventfd is ever read.
//!
//! Invariant: a packet that is lost is counted, in [`counters`] or, while it
//! waits in a tap, by the kernel in the interface's statistics.

mod control;
pub mod counters;
pub mod device;
pub mod handle;
pub mod header;
mod limited_port;
pub mod mac;
pub mod mtu;
pub mod offloads;
pub mod packet_fd;
mod pairs;
pub mod port;
pub mod posted;
mod receive;
mod severed_port;
pub mod stream;
pub mod tap;
pub mod tap_create;
mod tap_ioctl;
pub mod tap_open;
#[cfg(test)]
mod tests;
mod transmit;
pub mod vhost;
mod vhost_ioctl;
mod worker;

pub use device::{Net, NetOptions};
pub use mac::MacAddress;
pub use mtu::Mtu;
pub use tap::Tap;
