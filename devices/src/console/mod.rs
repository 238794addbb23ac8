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
//! changed. Before each transfer the descriptor is polled, and no more is
//! written than a polled descriptor takes. A terminal whose reader is stuck
//! may accept less than that and block the worker's reactor, so whoever opens
//! the descriptors should hand over a non-blocking description of its own
//! where there can be one.

pub mod buffer;
pub mod escape;
pub mod host;
pub mod input;
pub mod keys;
pub mod line;
pub mod output;
pub mod size;

mod descriptor;
