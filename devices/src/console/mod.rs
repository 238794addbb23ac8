//! The console: the host's end of a serial port or of a virtio console.
//!
//! What the guest writes goes vCPU -> [`buffer::ConsoleBuffer`] ->
//! [`output::ConsoleOutput`] -> host descriptor; what the user types goes host
//! descriptor -> [`input::ConsoleInput`] -> [`line::Line`], the guest's end. The
//! buffer and the line's queue are bounded, so neither side ever waits for the
//! other. [`host::ConsoleHost`] is both workers together.
//!
//! Host descriptors are used as they come: their flags, which belong to the
//! open file description and so to the user's shell as well, are never
//! changed. Input is polled before it is read. Output that may block has a
//! thread of its own, a [`relay`], so whoever opens the descriptors should hand
//! over a non-blocking description of its own where there can be one: that
//! needs none.

pub mod buffer;
pub mod escape;
pub mod host;
pub mod input;
pub mod keys;
pub mod line;
pub mod output;
pub mod size;

mod descriptor;
mod relay;
