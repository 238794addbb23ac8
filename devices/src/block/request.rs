//! A driver's request, parsed (virtio 1.3 §5.2.6).
//!
//! The driver is hostile: every field is checked against the disk, and what
//! comes out is an operation that cannot leave it, or a status to answer
//! with. Only a request without a header or without room for a status cannot
//! be answered at all.

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};

use super::disk::{DiskInfo, OperationKind};
use crate::virtio::buffers::GuestByte;
use crate::virtio::chain::Chain;

/// The unit of all positions and lengths, whatever the block size (§5.2.4).
pub(super) const SECTOR: u64 = 512;

/// Most buffers of a transfer: the queue's size less header and status.
pub(super) const MAX_SEGMENTS: u32 = 254;

/// Most bytes of one buffer. With [`MAX_SEGMENTS`] it bounds what one request
/// can make the I/O thread do.
pub(super) const MAX_SEGMENT_SIZE: u32 = 1 << 20;

/// Most sectors of a discard or write-zeroes request: 1 GiB.
pub(super) const MAX_CLEAR_SECTORS: u32 = 1 << 21;

/// Ranges in a discard or write-zeroes request. File systems give back long
/// ranges; more than one gains nothing.
pub(super) const MAX_CLEAR_SEGMENTS: u32 = 1;

const UNMAP: u32 = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

/// How a request ends, as the driver reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    /// `VIRTIO_BLK_S_OK`
    Ok = 0,
    /// `VIRTIO_BLK_S_IOERR`
    IoError = 1,
    /// `VIRTIO_BLK_S_UNSUPP`
    Unsupported = 2,
}

/// A request that cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a driver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// An operation on a range of the disk, in bytes.
    Operate {
        kind: OperationKind,
        offset: u64,
        len: u64,
    },
    /// Write the disk's name into the buffers.
    Identify,
    /// An empty range.
    Nothing,
}

/// Where the answer goes.
#[derive(Debug)]
pub(super) struct Reply {
    status: GuestByte,
    /// Writable bytes in front of the status.
    before: u64,
}

impl Reply {
    /// Writes the status. `filled` bytes of data were written before it.
    ///
    /// Returns how many bytes were written without a gap from the first
    /// writable one on, which is what a used length promises (§2.7.8.2).
    pub(super) fn send(self, status: Status, filled: u64) -> u32 {
        self.status.write(status as u8);
        let written = if filled == self.before {
            filled + 1
        } else {
            filled
        };
        u32::try_from(written).unwrap_or(u32::MAX)
    }
}

/// A request: what to do, or the status to refuse it with.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) reply: Reply,
    pub(super) command: Result<Command, Status>,
}

impl Request {
    /// Takes header and status off `chain`, leaving the data.
    pub(super) fn parse(chain: &mut Chain, disk: &DiskInfo) -> Result<Self, Malformed> {
        let status = chain.writable.take_last_byte().map_err(|_| Malformed)?;
        let reply = Reply {
            status,
            before: chain.writable.len(),
        };
        let mut header = [0; 16];
        chain.readable.read(&mut header).map_err(|_| Malformed)?;
        let kind = le32(&header, 0);
        let sector = u64::from(le32(&header, 8)) | u64::from(le32(&header, 12)) << 32;
        Ok(Self {
            reply,
            command: command(kind, sector, chain, disk),
        })
    }
}

/// Whether `chain` is a request that `disk` can do, of which header and status are
/// taken off.
#[cfg(feature = "fake-driver")]
pub(crate) fn is_sound(chain: &mut Chain, disk: &DiskInfo) -> bool {
    Request::parse(chain, disk).is_ok_and(|request| request.command.is_ok())
}

fn command(kind: u32, sector: u64, chain: &mut Chain, disk: &DiskInfo) -> Result<Command, Status> {
    match kind {
        VIRTIO_BLK_T_IN => {
            let len = chain.writable.len();
            operate(OperationKind::Read, sector, transfer_len(len)?, disk)
        }
        VIRTIO_BLK_T_OUT => {
            let len = chain.readable.len();
            operate(OperationKind::Write, sector, transfer_len(len)?, disk)
        }
        VIRTIO_BLK_T_FLUSH => Ok(Command::Operate {
            kind: OperationKind::Flush,
            offset: 0,
            len: 0,
        }),
        VIRTIO_BLK_T_GET_ID => Ok(Command::Identify),
        VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES => clear(kind, chain, disk),
        _ => Err(Status::Unsupported),
    }
}

fn transfer_len(len: u64) -> Result<u64, Status> {
    let most = u64::from(MAX_SEGMENTS) * u64::from(MAX_SEGMENT_SIZE);
    if len > most {
        return Err(Status::IoError);
    }
    Ok(len)
}

/// Parses the range of a discard or write-zeroes request:
/// le64 sector, le32 count, le32 flags.
fn clear(kind: u32, chain: &mut Chain, disk: &DiskInfo) -> Result<Command, Status> {
    // §5.2.6.2: a read-only disk fails what would write.
    if disk.read_only {
        return Err(Status::IoError);
    }
    if !disk.can_discard {
        return Err(Status::Unsupported);
    }
    let mut range = [0; 16];
    let read = chain.readable.read(&mut range);
    if read.is_err() || !chain.readable.is_empty() {
        return Err(Status::IoError);
    }
    let sector = u64::from(le32(&range, 0)) | u64::from(le32(&range, 4)) << 32;
    let (count, flags) = (le32(&range, 8), le32(&range, 12));
    // §5.2.6.2: flags that are unknown, or the unmap flag on a discard.
    let kind = match (kind, flags) {
        (VIRTIO_BLK_T_DISCARD, 0) => OperationKind::Discard,
        (VIRTIO_BLK_T_WRITE_ZEROES, 0 | UNMAP) => OperationKind::WriteZeroes {
            unmap: flags == UNMAP,
        },
        _ => return Err(Status::Unsupported),
    };
    if count > MAX_CLEAR_SECTORS {
        return Err(Status::IoError);
    }
    operate(kind, sector, u64::from(count) * SECTOR, disk)
}

/// Vets a range that begins at `sector` and is `len` bytes long.
fn operate(kind: OperationKind, sector: u64, len: u64, disk: &DiskInfo) -> Result<Command, Status> {
    if disk.read_only && kind != OperationKind::Read {
        return Err(Status::IoError);
    }
    let block = u64::from(disk.logical_block);
    let offset = sector.checked_mul(SECTOR).ok_or(Status::IoError)?;
    let end = offset.checked_add(len).ok_or(Status::IoError)?;
    let whole = offset.is_multiple_of(block) && len.is_multiple_of(block);
    if !whole || end > disk.capacity {
        return Err(Status::IoError);
    }
    if len == 0 {
        return Ok(Command::Nothing);
    }
    Ok(Command::Operate { kind, offset, len })
}

fn le32(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Ram;
    use proptest::prelude::*;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    const DISK: DiskInfo = DiskInfo {
        capacity: 1 << 30,
        logical_block: 4096,
        physical_block: 4096,
        buffer_alignment: 1,
        read_only: false,
        can_discard: true,
        depth: 1,
    };

    /// A chain of `readable` and room for `writable` bytes.
    fn chain(readable: &[u8], writable: u32) -> Chain {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        memory.write_slice(readable, GuestAddress(0)).unwrap();
        let mut chain = Chain::new(&Ram::new(memory));
        let len = u32::try_from(readable.len()).unwrap();
        chain.readable.append(0, len).unwrap();
        chain.writable.append(0x8_0000, writable).unwrap();
        chain
    }

    fn header(kind: u32, sector: u64) -> Vec<u8> {
        let mut header = Vec::from(u64::from(kind).to_le_bytes());
        header.extend(sector.to_le_bytes());
        header
    }

    #[test]
    fn the_used_length_counts_from_the_first_writable_byte_without_gaps() {
        for (writable, filled, written) in [(1, 0, 1), (513, 512, 513), (513, 0, 0), (31, 20, 20)] {
            let mut chain = chain(&header(VIRTIO_BLK_T_GET_ID, 0), writable);
            let request = Request::parse(&mut chain, &DISK).unwrap();
            assert_eq!(request.reply.send(Status::Ok, filled), written);
        }
    }

    #[test]
    fn half_a_logical_block_is_refused() {
        for (sector, len) in [(0, 512), (1, 4096), (8, 4096 + 512)] {
            let mut chain = chain(&header(VIRTIO_BLK_T_IN, sector), len + 1);
            let request = Request::parse(&mut chain, &DISK).unwrap();
            assert_eq!(request.command, Err(Status::IoError));
        }
    }

    proptest! {
        /// Whatever the driver says, what comes out is within the disk, in
        /// whole blocks, as long as the buffers, and allowed.
        #[test]
        fn no_operation_leaves_the_disk(
            kind in prop_oneof![0u32..16, any::<u32>()],
            sector in prop_oneof![0u64..1 << 22, any::<u64>()],
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                // The range of a discard, more or less right.
                (0u64..1 << 22, 0u32..1 << 22, 0u32..3).prop_map(|(sector, count, flags)| {
                    let mut range = Vec::from((sector & !7).to_le_bytes());
                    range.extend((count & !7).to_le_bytes());
                    range.extend(flags.to_le_bytes());
                    range
                }),
                Just(vec![0; 4096]),
            ],
            writable in prop_oneof![0u32..600, Just(4097u32), Just(8193u32)],
            cut in prop_oneof![4 => Just(usize::MAX), 1 => 0usize..20],
            read_only: bool,
            can_discard: bool,
        ) {
            let disk = DiskInfo { read_only, can_discard, ..DISK };
            let mut bytes = header(kind, sector);
            bytes.extend(&body);
            bytes.truncate(cut);
            let mut chain = chain(&bytes, writable);
            let Ok(request) = Request::parse(&mut chain, &disk) else {
                prop_assert!(bytes.len() < 16 || writable == 0);
                return Ok(());
            };
            let Ok(Command::Operate { kind, offset, len }) = request.command else {
                return Ok(());
            };
            prop_assert!(offset.checked_add(len).is_some_and(|end| end <= disk.capacity));
            prop_assert_eq!((offset % 4096, len % 4096), (0, 0));
            match kind {
                OperationKind::Read => prop_assert_eq!(len, chain.writable.len()),
                OperationKind::Write => prop_assert_eq!(len, chain.readable.len()),
                OperationKind::Flush => prop_assert_eq!(len, 0),
                OperationKind::Discard | OperationKind::WriteZeroes { .. } => {
                    prop_assert!(can_discard);
                    prop_assert!(len <= u64::from(MAX_CLEAR_SECTORS) * SECTOR);
                }
            }
            if read_only {
                prop_assert!(matches!(kind, OperationKind::Read | OperationKind::Flush));
            }
        }
    }
}
