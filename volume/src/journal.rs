//! The journal of the file `map`: leaves that changed, in order, before they are
//! written to their places.
//!
//! It is a ring of [`SIZE`] bytes that is only ever filled from its start: when
//! it is full, the leaves are written to their places, and a new epoch begins.
//! A **transaction** is one sector, then the leaves:
//!
//! ```text
//! byte   0   8  "PLINVTXN"
//!        8   8  epoch, as in the header
//!       16   4  number of the transaction in its epoch, from 0
//!       20   4  leaves that follow
//!       24   4  CRC-32 of the bytes before and of the leaves
//!       28 484  zeroes
//!      512 512  each leaf, as in its place
//! ```
//!
//! All numbers are little-endian. Each is made durable before the next is
//! written, so only the last can be torn, and a torn one was never relied on. A
//! whole one that follows a torn one is damage by another hand, and is refused.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::field::u32_at;
use crate::leaf;

/// Where it begins in the file, in bytes.
pub const START: u64 = 8192;

/// Bytes that it takes.
pub const SIZE: usize = 1 << 20;

/// Leaves in a transaction, at most.
pub const MOST: usize = 255;

const SECTOR: usize = leaf::SIZE;
const MAGIC: &[u8; 8] = b"PLINVTXN";

/// Where the next transaction goes.
#[derive(Debug)]
pub struct Journal {
    epoch: u64,
    /// Transactions in the epoch.
    number: u32,
    /// Bytes that they take.
    used: usize,
    /// For a transaction being put together.
    buffer: Vec<u8>,
}

/// The journal holds what nobody writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction {number} of its journal is damaged")]
pub struct Damaged {
    /// In its epoch.
    pub number: u32,
}

/// A leaf as a transaction holds it.
pub type Sector = [u8; SECTOR];

impl Journal {
    /// An empty one.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            number: 0,
            used: 0,
            buffer: Vec::new(),
        }
    }

    /// Is full from now on.
    pub fn seal(&mut self) {
        self.used = SIZE;
    }

    /// Whether a transaction of `leaves` leaves finds room.
    pub fn has_room(&self, leaves: usize) -> bool {
        self.used + (1 + leaves) * SECTOR <= SIZE
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// Writes `leaves`, at most [`MOST`], for which there is room, and makes them
    /// durable.
    ///
    /// # Errors
    /// They may not be durable. The next transaction takes the place of this.
    pub fn append(&mut self, file: &File, leaves: &[Sector]) -> io::Result<()> {
        debug_assert!(leaves.len() <= MOST && self.has_room(leaves.len()));
        let head = self.head(leaves);
        self.buffer.clear();
        self.buffer.extend_from_slice(&head);
        for leaf in leaves {
            self.buffer.extend_from_slice(leaf);
        }
        file.write_all_at(&self.buffer, START + self.used as u64)?;
        rustix::fs::fdatasync(file)?;
        self.number += 1;
        self.used += self.buffer.len();
        Ok(())
    }

    fn head(&self, leaves: &[Sector]) -> Sector {
        let mut head = [0; SECTOR];
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        head[16..20].copy_from_slice(&self.number.to_le_bytes());
        let count = u32::try_from(leaves.len()).expect("a transaction has few leaves");
        head[20..24].copy_from_slice(&count.to_le_bytes());
        let sum = checksum(&head, leaves.as_flattened());
        head[24..28].copy_from_slice(&sum.to_le_bytes());
        head
    }
}

/// Reads the journal of `epoch`: gives the leaves of all its transactions, in
/// order.
///
/// # Errors
/// It cannot be read; of kind `InvalidData`, with a [`Damaged`], if somebody
/// else has written there.
pub fn replay(file: &File, epoch: u64) -> io::Result<Vec<Sector>> {
    let mut bytes = vec![0; SIZE];
    file.read_exact_at(&mut bytes, START)?;
    let (mut leaves, mut rest, mut number) = (Vec::new(), &bytes[..], 0);
    while let Some(found) = transaction(rest, epoch, number) {
        rest = &rest[SECTOR + found.len()..];
        let (sectors, _) = found.as_chunks::<SECTOR>();
        leaves.extend_from_slice(sectors);
        number += 1;
    }
    // Past a torn transaction there is none: it was the last.
    let (sectors, _) = rest.as_chunks::<SECTOR>();
    let later = (0..sectors.len()).any(|at| {
        let rest = &rest[at * SECTOR..];
        head(rest, epoch).is_some_and(|later| later > number)
            && transaction(rest, epoch, head(rest, epoch).unwrap_or_default()).is_some()
    });
    if later {
        let damaged = Damaged { number };
        return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
    }
    Ok(leaves)
}

/// The number of the transaction whose head `bytes` begin with.
fn head(bytes: &[u8], epoch: u64) -> Option<u32> {
    let head = bytes.first_chunk::<SECTOR>()?;
    let ours = head[..8] == *MAGIC && head[8..16] == epoch.to_le_bytes();
    ours.then(|| u32_at(head, 16))
}

/// The leaves of the transaction that `bytes` begin with, if it is that one and
/// whole.
fn transaction(bytes: &[u8], epoch: u64, number: u32) -> Option<&[u8]> {
    if head(bytes, epoch)? != number {
        return None;
    }
    let (head, rest) = bytes.split_first_chunk::<SECTOR>()?;
    let count = usize::try_from(u32_at(head, 20)).ok()?;
    if count > MOST {
        return None;
    }
    let leaves = rest.get(..count * SECTOR)?;
    (u32_at(head, 24) == checksum(head, leaves)).then_some(leaves)
}

fn checksum(head: &Sector, leaves: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[..24]);
    sum.update(leaves);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(START + SIZE as u64).unwrap();
        file
    }

    fn sectors(first: u8, count: u8) -> Vec<Sector> {
        (0..count).map(|n| [first + n; SECTOR]).collect()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order() {
        let file = file();
        let mut journal = Journal::new(3);
        journal.append(&file, &sectors(1, 2)).unwrap();
        journal.append(&file, &sectors(3, 1)).unwrap();
        assert_eq!(replay(&file, 3).unwrap(), sectors(1, 3));
        assert_eq!(replay(&file, 4).unwrap(), sectors(0, 0), "of another epoch");
    }

    #[test]
    fn a_new_epoch_hides_the_old_one() {
        let file = file();
        let mut journal = Journal::new(3);
        for _ in 0..3 {
            journal.append(&file, &sectors(1, 1)).unwrap();
        }
        let mut journal = Journal::new(4);
        journal.append(&file, &sectors(9, 1)).unwrap();
        assert_eq!(replay(&file, 4).unwrap(), sectors(9, 1));
    }

    #[test]
    fn a_torn_transaction_is_as_if_it_had_not_been_written() {
        for torn in [0, SECTOR, 2 * SECTOR] {
            let file = file();
            let mut journal = Journal::new(3);
            journal.append(&file, &sectors(1, 1)).unwrap();
            journal.append(&file, &sectors(2, 2)).unwrap();
            let at = START + (2 * SECTOR + torn) as u64;
            file.write_all_at(&[0; SECTOR], at).unwrap();
            assert_eq!(replay(&file, 3).unwrap(), sectors(1, 1));
        }
    }

    #[test]
    fn a_damaged_one_that_others_follow_is_refused() {
        let file = file();
        let mut journal = Journal::new(3);
        for _ in 0..3 {
            journal.append(&file, &sectors(1, 1)).unwrap();
        }
        file.write_all_at(&[0xff], START + 2 * SECTOR as u64 + 700)
            .unwrap();
        let error = replay(&file, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("transaction 1"), "{error}");
    }

    #[test]
    fn it_is_filled_to_its_end() {
        let file = file();
        let mut journal = Journal::new(1);
        let leaves = sectors(0, u8::MAX);
        assert_eq!(leaves.len(), MOST);
        let mut count = 0;
        while journal.has_room(MOST) {
            journal.append(&file, &leaves).unwrap();
            count += MOST;
        }
        assert_eq!(count, 8 * MOST);
        assert_eq!(replay(&file, 1).unwrap().len(), count);
        assert!(!journal.has_room(0) && !journal.is_empty());
        let mut sealed = Journal::new(2);
        sealed.seal();
        assert!(!sealed.has_room(0));
    }
}
