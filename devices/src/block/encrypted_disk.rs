//! A wrapper that encrypts what is written and decrypts what is read.
//!
//! All data goes through [memory](super::bounce) of the host, in either
//! direction: what is written is encrypted as it was when it was taken from the
//! guest, whatever the guest does to its buffers meanwhile, and ciphertext is
//! never where the guest can see it. On the way it passes by way of a page that
//! stays in the processor's cache, so that a byte is moved no more often than
//! by copying.
//!
//! Discards and write-zeroes go straight: zeroes in the file are zeroes
//! ([`cipher`](volume::cipher)). Flushes do, too.

use std::io;
use std::sync::Arc;

use volume::cipher::{Cipher, Sector};

use super::bounced_disk::{BouncedDisk, Passage};
use super::carrier::Carrier;
use super::disk::{Disk, DiskInfo, Operation};
use crate::virtio::buffers::{Buffers, TooShort};

/// Operations that go through at a time. With 256 KiB each it is 8 MiB of each
/// queue's at most; small operations take a page each.
const PIECES: usize = 32;

/// Bytes in a sector.
const SECTOR: u64 = size_of::<Sector>() as u64;

/// Sectors in the cache at a time: a page.
const BATCH: usize = 8;

/// `inner`, which holds what `cipher` encrypts.
///
/// # Errors
/// There is no address space for the memory, or no thread to be had.
pub(super) fn encrypted_disk(
    inner: Box<dyn Disk>,
    cipher: Arc<Cipher>,
) -> io::Result<Box<dyn Disk>> {
    let encryption = Encryption {
        cipher,
        batch: Box::new([[0; _]; BATCH]),
    };
    let carrier = Carrier::with_thread(encryption, PIECES)?;
    Ok(Box::new(BouncedDisk::new(inner, carrier, PIECES)?))
}

/// The passage of bytes that nobody else is to read.
#[derive(Clone)]
struct Encryption {
    cipher: Arc<Cipher>,
    batch: Box<[Sector; BATCH]>,
}

impl Encryption {
    /// Moves `len` bytes, whole sectors from the one at `offset` on, and has
    /// `work` at them on the way.
    fn carry(
        &mut self,
        offset: u64,
        len: usize,
        from: &mut Buffers,
        to: &mut Buffers,
        work: fn(&Cipher, u64, &mut [Sector]),
    ) -> Result<(), TooShort> {
        let numbers = (offset / SECTOR..).step_by(BATCH);
        let count = len / size_of::<Sector>();
        for (number, done) in numbers.zip((0..count).step_by(BATCH)) {
            let sectors = &mut self.batch[..BATCH.min(count - done)];
            from.read(sectors.as_flattened_mut())?;
            work(&self.cipher, number, sectors);
            to.write(sectors.as_flattened())?;
        }
        Ok(())
    }
}

impl Passage for Encryption {
    const UNIT: u64 = SECTOR;

    fn takes(&self, _: &Operation, _: &DiskInfo) -> bool {
        true
    }

    fn store(
        &mut self,
        offset: u64,
        len: usize,
        guest: &mut Buffers,
        piece: &mut Buffers,
    ) -> Result<(), TooShort> {
        self.carry(offset, len, guest, piece, Cipher::encrypt)
    }

    fn load(
        &mut self,
        offset: u64,
        len: usize,
        piece: &mut Buffers,
        guest: &mut Buffers,
    ) -> Result<(), TooShort> {
        self.carry(offset, len, piece, guest, Cipher::decrypt)
    }
}
