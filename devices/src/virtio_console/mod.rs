//! The virtio console device (virtio 1.3 §5.3) with its one port: the guest's
//! /dev/hvc0.
//!
//! The host's end is the one that a serial port has too,
//! [`console`](crate::console): what the guest writes goes into a
//! [`ConsoleBuffer`](crate::console::buffer::ConsoleBuffer), what it is to
//! read comes through the [`keyboard`]. [`device`] is the front, `worker` runs
//! on a reactor. Unlike a serial port it takes a line for one notification
//! instead of one exit for each byte.
//!
//! Invariant: the guest's buffers go back at once, whether anybody on the host
//! reads or not, since its driver waits for them without sleeping.

pub mod counters;
pub mod device;
pub mod keyboard;
#[cfg(test)]
mod tests;
mod worker;

pub use device::VirtioConsole;
pub use keyboard::Keyboard;
