//! Memory that a running guest can get more of and give back (virtio 1.3
//! §5.15, the memory device, known as virtio-mem).
//!
//! It is a region of guest memory above all other, in [`blocks`] of 2 MiB that
//! are plugged or not. The host asks for an amount through a
//! [`MemHandle`](handle::MemHandle); the driver chooses blocks and has them
//! plugged and unplugged by [`request`]s, which the worker answers. An
//! unplugged block goes back to the host.
//!
//! Blocks and what is in them outlast a reset of the device (§5.15.5.2): its
//! driver may have been unloaded while memory was in use. A driver that finds
//! some plugged, and does not know them, begins with unplugging all, as Linux
//! does. They do not outlast a reset of the machine (§5.15.6.2), which gives
//! the next guest other memory, all of it unplugged.
//!
//! The region is mapped all the time, and what is not plugged is kept from the
//! guest by its driver alone: the most that a hostile guest takes is the whole
//! region, which is what it might have been given.

pub mod device;
pub mod handle;

mod blocks;
mod request;
mod shared;
mod worker;

#[cfg(test)]
mod tests;
