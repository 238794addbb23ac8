//! A descriptor chain: one request from the driver (virtio 1.3 §2.7.5).
//!
//! [`Queue::pop`](super::queue::Queue::pop) fills it. Devices see two streams
//! of bytes, never descriptors. Filling vets everything that a hostile driver
//! may get wrong: loops, indices out of range, buffers outside memory, too
//! many of them, and device-writable buffers before readable ones.

use virtio_queue::DescriptorChain;
use vm_memory::GuestMemoryMmap;

use super::buffers::{Buffers, MAX_PIECES, Refused};
use crate::memory::Ram;

/// More descriptors than this make a chain too long, also if there are no
/// bytes in them: each costs a look at guest memory.
const MAX_DESCRIPTORS: usize = 2 * MAX_PIECES;

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
    /// More pieces than [`MAX_PIECES`] to read or to write, or twice as many
    /// descriptors.
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
        for (count, descriptor) in descriptors.enumerate() {
            if count == MAX_DESCRIPTORS {
                return Err(ChainFault::TooLong);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::fake_driver::{
        Buffer, FakeDriver, MEMORY, REGION_BOUNDARY, RawDescriptor, Used,
    };
    use crate::virtio::loopback::{QUEUE_SIZE, echo, shelved};
    use crate::virtio::queue::Queue;

    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;
    const END: u64 = MEMORY as u64;

    fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> RawDescriptor {
        RawDescriptor {
            address,
            len,
            flags,
            next,
        }
    }

    /// A good request makes the round trip.
    fn works(driver: &mut FakeDriver, queue: &mut Queue) {
        let mut chain = Chain::new(&driver.ram);
        let (question, answer) = (driver.readable(b"still here?"), driver.writable(20));
        let head = driver.add(0, &[question, answer]);
        assert_eq!(queue.pop(&mut chain), Ok(true));
        assert_eq!(chain.head(), head);
        let written = echo(&mut chain);
        queue.push(head, written).unwrap();
        assert_eq!(driver.used(0), Some(Used { head, written: 11 }));
        assert_eq!(&driver.contents(answer)[..12], b"still here?\xa5");
    }

    /// Makes `table` available, as the descriptor table if it fits or else
    /// as an indirect one, and expects it back unused.
    fn comes_back_unused(what: &str, indirect: bool, table: &[RawDescriptor]) {
        let (mut driver, mut queue) = shelved(u64::MAX);
        let mut chain = Chain::new(&driver.ram);
        if indirect {
            let len = 16 * u32::try_from(table.len()).unwrap();
            let address = driver.allocate(len);
            driver.poke_table(address, table);
            driver.set_descriptor(0, 0, descriptor(address, len, INDIRECT, 0));
        } else {
            for (descriptor, i) in table.iter().zip(0..) {
                driver.set_descriptor(0, i, *descriptor);
            }
        }
        driver.make_available(0, 0);
        assert_eq!(queue.pop(&mut chain), Ok(false), "{what}");
        assert_eq!(queue.faults(), 1, "{what}");
        let unused = Used {
            head: 0,
            written: 0,
        };
        assert_eq!(driver.used(0), Some(unused), "{what}");
        works(&mut driver, &mut queue);
    }

    #[test]
    fn malformed_chains_come_back_unused_and_alone() {
        let cases: [(&str, &[RawDescriptor]); 13] = [
            ("a loop of one", &[descriptor(0, 1, NEXT, 0)]),
            (
                "a loop of two",
                &[descriptor(0, 1, NEXT, 1), descriptor(0, 1, NEXT, 0)],
            ),
            ("next out of range", &[descriptor(0, 1, NEXT, QUEUE_SIZE)]),
            ("next far out of range", &[descriptor(0, 1, NEXT, u16::MAX)]),
            ("outside memory", &[descriptor(END, 1, 0, 0)]),
            ("across the end", &[descriptor(END - 1, 2, WRITE, 0)]),
            ("wrapping around", &[descriptor(u64::MAX, 2, WRITE, 0)]),
            (
                "readable after writable",
                &[descriptor(0, 1, NEXT | WRITE, 1), descriptor(0, 1, 0, 0)],
            ),
            (
                "a second buffer outside memory",
                &[descriptor(0, 1, NEXT, 1), descriptor(END, 1, WRITE, 0)],
            ),
            ("an empty table", &[descriptor(0, 0, INDIRECT, 0)]),
            ("a misaligned table", &[descriptor(0, 17, INDIRECT, 0)]),
            (
                "a table outside memory",
                &[descriptor(END, 16, INDIRECT, 0)],
            ),
            (
                "a table that is too long",
                &[descriptor(0, 0x10_0000, INDIRECT, 0)],
            ),
        ];
        for (what, table) in cases {
            comes_back_unused(what, false, table);
        }
    }

    #[test]
    fn malformed_indirect_tables_come_back_unused_and_alone() {
        let cases: [(&str, &[RawDescriptor]); 4] = [
            ("a table in a table", &[descriptor(0, 16, INDIRECT, 0)]),
            (
                "a table behind a buffer in a table",
                &[descriptor(0, 1, NEXT, 1), descriptor(0, 16, INDIRECT, 0)],
            ),
            ("a loop in a table", &[descriptor(0, 1, NEXT, 0)]),
            ("next beyond the table", &[descriptor(0, 1, NEXT, 1)]),
        ];
        for (what, table) in cases {
            comes_back_unused(what, true, table);
        }
    }

    /// `count` descriptors in a row.
    fn row(count: u16, address: u64, len: u32, flags: u16) -> Vec<RawDescriptor> {
        let mut row: Vec<_> = (1..=count)
            .map(|next| descriptor(address, len, flags | NEXT, next))
            .collect();
        row.last_mut().unwrap().flags = flags;
        row
    }

    #[test]
    fn oversized_chains_come_back_unused_and_alone() {
        comes_back_unused("1025 readable buffers", true, &row(1025, 0, 1, 0));
        comes_back_unused("1025 writable buffers", true, &row(1025, 0, 1, WRITE));
        let across = row(513, REGION_BOUNDARY - 1, 2, 0);
        comes_back_unused("513 buffers of two pieces", true, &across);
        let len = u32::try_from(MEMORY).unwrap();
        comes_back_unused("more than 4 GiB", true, &row(65, 0, len, 0));
        // Each costs a look at guest memory, though there are no bytes in it.
        let empty = row(u16::MAX, 0, 0, 0);
        comes_back_unused("65535 empty buffers", true, &empty);
    }

    #[test]
    fn the_longest_chain_is_taken() {
        let (mut driver, mut queue) = shelved(u64::MAX);
        let mut chain = Chain::new(&driver.ram);
        let (question, answer) = (driver.readable(b"?"), driver.writable(1));
        let buffers: Vec<_> = [question; 1024].into_iter().chain([answer; 1024]).collect();
        driver.add_indirect(0, &buffers);
        assert_eq!(queue.pop(&mut chain), Ok(true));
        assert_eq!((chain.readable.len(), chain.writable.len()), (1024, 1024));
    }

    #[test]
    fn a_buffer_may_span_two_regions_of_memory() {
        for indirect in [false, true] {
            let (mut driver, mut queue) = shelved(u64::MAX);
            let mut chain = Chain::new(&driver.ram);
            let (from, to) = (REGION_BOUNDARY - 3, REGION_BOUNDARY - 103);
            driver.poke(from, b"across");
            let buffers = [
                Buffer::Readable {
                    address: from,
                    len: 6,
                },
                Buffer::Writable {
                    address: to,
                    len: 106,
                },
            ];
            let head = if indirect {
                driver.add_indirect(0, &buffers)
            } else {
                driver.add(0, &buffers)
            };
            assert_eq!(queue.pop(&mut chain), Ok(true));
            assert_eq!(chain.head(), head);
            chain.writable.skip(100).unwrap();
            echo(&mut chain);
            assert_eq!(driver.peek(REGION_BOUNDARY - 3, 6), b"across");
        }
    }

    #[test]
    fn a_table_may_follow_buffers() {
        let (mut driver, mut queue) = shelved(u64::MAX);
        let mut chain = Chain::new(&driver.ram);
        driver.poke(0x200, b"ab");
        driver.poke_table(
            0x100,
            &[
                descriptor(0x201, 1, NEXT, 1),
                descriptor(0x300, 2, WRITE, 0),
            ],
        );
        driver.set_descriptor(0, 0, descriptor(0x200, 1, NEXT, 1));
        // The device must ignore the write flag here (§2.7.5.3.2).
        driver.set_descriptor(0, 1, descriptor(0x100, 32, INDIRECT | WRITE, 0));
        driver.make_available(0, 0);
        assert_eq!(queue.pop(&mut chain), Ok(true));
        assert_eq!(echo(&mut chain), 2);
        assert_eq!(driver.peek(0x300, 2), b"ab");
    }
}
