//! A descriptor chain: one request from the driver (virtio 1.3 §2.7.5).
//!
//! [`Queue::pop`](super::queue::Queue::pop) fills it. Devices see two streams
//! of bytes, never descriptors. Filling vets everything that a hostile driver
//! may get wrong: loops, indices out of range, buffers outside memory, too
//! many of them, and device-writable buffers before readable ones.

use virtio_queue::DescriptorChain;
use vm_memory::GuestMemoryMmap;

use super::buffers::{Buffers, Refused};
use crate::memory::Ram;

/// A request. Reused: popping into it replaces what it held.
#[derive(Debug)]
pub struct Chain {
    head: u16,
    /// What the driver wrote for the device.
    pub readable: Buffers,
    /// Where the device may answer.
    pub writable: Buffers,
}

/// How a driver got a chain wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// A loop, an index out of range, or a bad indirect table: the chain has
    /// no end.
    #[error("the descriptor chain does not end")]
    Endless,
    /// A buffer is not in guest memory.
    #[error("a descriptor points outside guest memory")]
    NotRam,
    /// More pieces than [`super::buffers::MAX_PIECES`].
    #[error("the descriptor chain is too long")]
    TooLong,
    /// A device-readable buffer follows a writable one (§2.7.4.2).
    #[error("a readable descriptor follows a writable one")]
    Order,
}

impl From<Refused> for ChainFault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotRam => Self::NotRam,
            Refused::TooMany => Self::TooLong,
        }
    }
}

impl Chain {
    /// An empty chain over `ram`, to pop requests into.
    pub fn new(ram: &Ram) -> Self {
        Self {
            head: 0,
            readable: Buffers::new(ram.clone()),
            writable: Buffers::new(ram.clone()),
        }
    }

    /// The number that the driver knows this request by.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Fills the chain from descriptors.
    pub(super) fn fill(
        &mut self,
        descriptors: DescriptorChain<&GuestMemoryMmap<()>>,
    ) -> Result<(), ChainFault> {
        self.head = descriptors.head_index();
        self.readable.clear();
        self.writable.clear();
        // The iterator stops without a word at a loop or a bad index. It has
        // come to the end if and only if the last descriptor says so.
        let mut ended = false;
        for descriptor in descriptors {
            ended = !descriptor.has_next();
            let (address, len) = (descriptor.addr().0, descriptor.len());
            if descriptor.is_write_only() {
                self.writable.append(address, len)?;
            } else if self.writable.is_empty() {
                self.readable.append(address, len)?;
            } else {
                return Err(ChainFault::Order);
            }
        }
        ended.then_some(()).ok_or(ChainFault::Endless)
    }
}
