//! The file `map`: what is known of each block of a volume.
//!
//! ```text
//! byte        0  header, slot 0
//!          4096  header, slot 1
//!          8192  journal, 1 MiB
//!       1056768  leaves, 512 bytes each, up to the end
//! ```
//!
//! What must be durable, and when:
//!
//! - **State.** A block that is [`Absent`](State::Absent) is so until what took
//!   its place is durable in `data`, and a flush is answered only when that and
//!   the map are. So a change from absent is *unsettled* first: reads see it, the
//!   file does not. [`begin_settling`](BlockMap::begin_settling) comes before
//!   `data` is synced, [`settle`](BlockMap::settle) after that. A volume without
//!   absent blocks has nothing to settle: its flush is that of its file.
//!   [`Zero`](State::Zero) is a hint; reads go to `data` all the same.
//! - **Generations** are written when the volume is closed, and need not be
//!   before: see the floor in [`header`](crate::header).
//!
//! A leaf is written to its place only when the journal holds it: one that was
//! torn there is replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::fdatasync;

use crate::entry::{Entry, Generation, State};
use crate::header::Header;
use crate::id::VolumeId;
use crate::journal::{self, Journal};
use crate::leaf::{self, BLOCKS, Leaf, position};
use crate::size::VolumeSize;

/// Where the leaves begin, in bytes.
pub const LEAVES: u64 = journal::START + journal::SIZE as u64;

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// It cannot be read, or holds what is not a map (kind `InvalidData`).
    #[error("the map of its blocks cannot be read")]
    Read(#[source] io::Error),
    /// It cannot be written.
    #[error("the map of its blocks cannot be written")]
    Write(#[source] io::Error),
    /// The file ends before the map does.
    #[error("the map of its blocks was cut short: it has {len} bytes of {expected}")]
    Truncated {
        /// Bytes there are.
        len: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Its snapshots cannot be counted any further.
    #[error("it has had all the generations that it can have")]
    Exhausted,
}

/// Blocks whose new state is durable in `data` once that is synced.
#[derive(Debug, Default)]
pub struct Batch(BTreeMap<u32, Entry>);

impl Batch {
    /// Whether the map need not be changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The map of an open volume.
#[derive(Debug)]
pub struct BlockMap {
    file: File,
    header: Header,
    /// As they are now, where anybody has asked. Freezes share those that do not
    /// change.
    leaves: Vec<Option<Arc<Leaf>>>,
    /// Leaves that are not in the file as they are now.
    dirty: BTreeSet<u32>,
    /// Leaves in the journal.
    journaled: BTreeSet<u32>,
    /// Blocks that are not absent any more, and are in the file; with what they
    /// are there.
    unsettled: BTreeMap<u32, Entry>,
    journal: Journal,
    /// The number of the newest header that is known to be durable.
    durable: Arc<AtomicU64>,
}

/// Makes `file`, which must be empty, the map of a new volume whose blocks are
/// all `fresh`. Takes as long whatever the size, and next to no space.
///
/// # Errors
/// It cannot be written.
pub fn create(file: &File, id: VolumeId, size: VolumeSize, fresh: State) -> Result<(), MapError> {
    let make = || {
        file.set_len(length(size))?;
        Header::new(id, size, fresh).write(file)?;
        file.sync_all()
    };
    make().map_err(MapError::Write)
}

/// Bytes of the map of a volume of `size`.
pub fn length(size: VolumeSize) -> u64 {
    LEAVES + u64::from(leaf::count(size.blocks())) * leaf::SIZE as u64
}

/// Where leaf `number` is in the file, in bytes.
pub fn place(number: u32) -> u64 {
    LEAVES + u64::from(number) * leaf::SIZE as u64
}

/// Leaf `number` as `file` has it at `place`; `None` if it was never written.
///
/// # Errors
/// It cannot be read, or is damaged (kind `InvalidData`).
pub fn read_leaf(file: &File, id: VolumeId, number: u32, place: u64) -> io::Result<Option<Leaf>> {
    let mut sector = [0; leaf::SIZE];
    file.read_exact_at(&mut sector, place)?;
    let leaf = Leaf::decode(id, number, &sector);
    leaf.map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))
}

impl BlockMap {
    /// Opens a map to write to its volume.
    ///
    /// If the last writer did not close it, a generation begins in which all of
    /// it counts as changed.
    ///
    /// # Errors
    /// It is not a whole map, or cannot be written.
    pub fn open(file: File) -> Result<Self, MapError> {
        let mut map = Self::read(file)?;
        if map.header.open {
            map.header.generation = map.header.generation.next().ok_or(MapError::Exhausted)?;
            map.header.floor = map.header.generation;
        }
        map.header.open = true;
        map.write_to_places().map_err(MapError::Write)?;
        Ok(map)
    }

    /// Reads a map, without changing the file: for who only reads the volume.
    ///
    /// # Errors
    /// It is not a whole map.
    pub fn read(file: File) -> Result<Self, MapError> {
        let header = Header::read(&file).map_err(MapError::Read)?;
        let len = file.metadata().map_err(MapError::Read)?.len();
        let expected = length(header.size);
        if len < expected {
            return Err(MapError::Truncated { len, expected });
        }
        let mut map = Self {
            leaves: vec![None; leaf::count(header.size.blocks()) as usize],
            journal: Journal::new(header.epoch),
            dirty: BTreeSet::new(),
            journaled: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            durable: Arc::new(AtomicU64::new(header.number)),
            header,
            file,
        };
        map.replay().map_err(MapError::Read)?;
        Ok(map)
    }

    /// What the map says about all of the volume.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The entry of `block`, below the volume's number of blocks.
    ///
    /// # Errors
    /// Its leaf cannot be read, or is damaged.
    pub fn get(&mut self, block: u32) -> io::Result<Entry> {
        let (number, index) = position(block);
        Ok(self.leaf(number)?.get(index))
    }

    /// Leaf `number` as it is now.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn leaf(&mut self, number: u32) -> io::Result<&Leaf> {
        self.known_leaf(number).map(|leaf| &**leaf)
    }

    fn known_leaf(&mut self, number: u32) -> io::Result<&mut Arc<Leaf>> {
        let known = &mut self.leaves[number as usize];
        if known.is_none() {
            let leaf = read_leaf(&self.file, self.header.id, number, place(number))?;
            let leaf = leaf.unwrap_or_else(|| Leaf::untouched(self.header.fresh));
            *known = Some(Arc::new(leaf));
        }
        Ok(known.as_mut().expect("it was just read"))
    }

    /// `block`, which is not absent, is about to be written.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn touch(&mut self, block: u32) -> io::Result<()> {
        let generation = self.header.generation;
        let state = State::Present;
        self.set(block, Entry { state, generation })
    }

    /// What `block` held in a snapshot is in `data` now.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn loaded(&mut self, block: u32) -> io::Result<()> {
        let absent = self.get(block)?;
        debug_assert_eq!(absent.state, State::Absent);
        self.unsettled.entry(block).or_insert(absent);
        let state = State::Present;
        self.set(block, Entry { state, ..absent })
    }

    /// `block`, which was absent, is zeroes, and `data` has a hole there.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn cleared(&mut self, block: u32) -> io::Result<()> {
        let absent = self.get(block)?;
        debug_assert_eq!(absent.state, State::Absent);
        self.unsettled.entry(block).or_insert(absent);
        let generation = self.header.generation;
        let state = State::Zero;
        self.set(block, Entry { state, generation })
    }

    fn set(&mut self, block: u32, entry: Entry) -> io::Result<()> {
        let (number, index) = position(block);
        Arc::make_mut(self.known_leaf(number)?).set(index, entry);
        self.dirty.insert(number);
        Ok(())
    }

    /// Whether no block can be absent, without looking.
    pub fn is_complete(&self) -> bool {
        self.header.fresh != State::Absent
    }

    /// The first absent one of `blocks`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn absent_in(&mut self, blocks: Range<u32>) -> io::Result<Option<u32>> {
        for block in blocks {
            if self.get(block)?.state == State::Absent {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Nobody found an absent block: none will be looked for again. That they are
    /// settled is the caller's to see to.
    ///
    /// # Errors
    /// It may not be durable; it is once the volume is closed.
    pub fn complete(&mut self) -> io::Result<()> {
        debug_assert!(self.unsettled.is_empty());
        // All leaves were written, since all blocks were absent once.
        self.header.fresh = State::Zero;
        self.save_header()
    }

    /// What a sync of `data` that begins now makes durable.
    pub fn begin_settling(&mut self) -> Batch {
        let current = |block: u32| {
            let (number, index) = position(block);
            let leaf = self.leaves[number as usize].as_ref();
            leaf.expect("an unsettled block's leaf is known").get(index)
        };
        let blocks = self.unsettled.keys();
        Batch(blocks.map(|block| (*block, current(*block))).collect())
    }

    /// Blocks that are not absent any more, and are in the file.
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Syncing `data` failed: what was unsettled may be lost there, whatever the
    /// next sync says. Blocks are absent again which are so in the file.
    pub fn forget_unsettled(&mut self) {
        let (absent, others) = std::mem::take(&mut self.unsettled)
            .into_iter()
            .partition(|(_, before)| before.state == State::Absent);
        self.unsettled = others;
        let absent: BTreeMap<u32, Entry> = absent;
        for (block, before) in absent {
            let (number, index) = position(block);
            let leaf = self.leaves[number as usize].as_mut();
            let leaf = leaf.expect("an unsettled block's leaf is known");
            Arc::make_mut(leaf).set(index, before);
        }
    }

    /// Makes the states in `batch` durable, after `data` was synced.
    ///
    /// # Errors
    /// They may not be durable; they are in the next batch again.
    pub fn settle(&mut self, batch: &Batch) -> io::Result<()> {
        let leaves: BTreeSet<u32> = batch.0.keys().map(|block| position(*block).0).collect();
        let leaves: Vec<u32> = leaves.into_iter().collect();
        for leaves in leaves.chunks(journal::MOST) {
            self.write_to_journal(leaves, batch)?;
            for number in leaves {
                self.have_settled(*number, batch);
            }
        }
        Ok(())
    }

    /// Begins the next generation, and gives the one that ended. The file says
    /// so after [`write_header`](Self::write_header).
    ///
    /// # Errors
    /// There is no next.
    pub fn begin_generation(&mut self) -> Result<Generation, MapError> {
        let ended = self.header.generation;
        self.header.generation = ended.next().ok_or(MapError::Exhausted)?;
        Ok(ended)
    }

    /// Writes what [`header`](Self::header) says, without waiting: it is durable
    /// once anybody has synced the file.
    ///
    /// # Errors
    /// It cannot be written; the one before still counts.
    pub fn write_header(&mut self) -> io::Result<()> {
        // It takes the place of the one before the last, so the last must be
        // durable.
        if self.durable.load(Ordering::Relaxed) < self.header.number {
            fdatasync(&self.file)?;
        }
        self.header.write_next(&self.file)
    }

    /// To make the newest header durable from elsewhere.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(crate) fn unsynced_header(&self) -> io::Result<UnsyncedHeader> {
        Ok(UnsyncedHeader {
            file: self.file.try_clone()?,
            number: self.header.number,
            durable: Arc::clone(&self.durable),
        })
    }

    /// Makes durable what [`header`](Self::header) says.
    ///
    /// # Errors
    /// It may not be durable.
    fn save_header(&mut self) -> io::Result<()> {
        self.write_header()?;
        fdatasync(&self.file)?;
        self.durable
            .fetch_max(self.header.number, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves that are not in the file as they are now.
    pub(crate) fn dirty_leaves(&self) -> impl Iterator<Item = (u32, Arc<Leaf>)> {
        self.dirty.iter().map(|number| {
            let leaf = self.leaves[*number as usize].as_ref();
            let leaf = leaf.expect("a leaf that was changed is known");
            (*number, Arc::clone(leaf))
        })
    }

    /// Makes room for a volume that has grown to `size`. Its new blocks are as
    /// untouched ones.
    ///
    /// # Errors
    /// It cannot be written, and is as before.
    pub fn grow(&mut self, size: VolumeSize) -> io::Result<()> {
        self.file.set_len(length(size))?;
        let before = std::mem::replace(&mut self.header.size, size);
        if let Err(error) = self.save_header() {
            self.header.size = before;
            return Err(error);
        }
        let leaves = leaf::count(size.blocks()) as usize;
        self.leaves.resize(leaves, None);
        self.touch_up(before, size)
    }

    /// A leaf has entries beyond the volume's end, and they are as absent as all
    /// were once, though what is added to a loaded volume is not.
    fn touch_up(&mut self, before: VolumeSize, size: VolumeSize) -> io::Result<()> {
        let old = before.blocks();
        let end = old.next_multiple_of(BLOCKS).min(size.blocks());
        let fresh = Entry::untouched(self.header.fresh);
        for block in old..end {
            if self.get(block)?.state == State::Absent {
                self.set(block, fresh)?;
            }
        }
        Ok(())
    }

    /// Writes all that is only in memory, after `data` was synced: the next
    /// who opens the volume finds everything as it is.
    ///
    /// # Errors
    /// It was not written; the volume counts as one that was not closed.
    pub fn close(mut self) -> io::Result<()> {
        let batch = self.begin_settling();
        self.settle(&batch)?;
        let dirty: Vec<u32> = self.dirty.iter().copied().collect();
        for leaves in dirty.chunks(journal::MOST) {
            self.write_to_journal(leaves, &batch)?;
        }
        self.header.open = false;
        self.write_to_places()
    }

    fn replay(&mut self) -> io::Result<()> {
        for sector in journal::replay(&self.file, self.header.epoch)? {
            let number = u32::from_le_bytes([sector[4], sector[5], sector[6], sector[7]]);
            let damaged = leaf::Damaged { number };
            let leaf = Leaf::decode(self.header.id, number, &sector);
            let place = self.leaves.get_mut(number as usize);
            let (Ok(Some(leaf)), Some(place)) = (leaf, place) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
            };
            *place = Some(Arc::new(leaf));
            self.dirty.insert(number);
            self.journaled.insert(number);
        }
        Ok(())
    }

    /// `leaves`, at most [`journal::MOST`], as they will be once `batch` is
    /// settled.
    fn write_to_journal(&mut self, leaves: &[u32], batch: &Batch) -> io::Result<()> {
        if !self.journal.has_room(leaves.len()) {
            self.write_to_places()?;
        }
        let image = |number: &u32| self.image(*number, batch);
        let sectors: Vec<journal::Sector> = leaves.iter().map(image).collect();
        self.journal.append(&self.file, &sectors)?;
        self.journaled.extend(leaves);
        Ok(())
    }

    /// Takes note that the blocks of leaf `number` in `batch` are in the file.
    fn have_settled(&mut self, number: u32, batch: &Batch) {
        for (block, written) in batch.0.range(blocks_of(number)) {
            let (_, index) = position(*block);
            let leaf = self.leaves[number as usize].as_ref();
            let now = leaf.expect("its blocks were changed").get(index);
            if now.state == written.state {
                self.unsettled.remove(block);
            } else if let Some(entry) = self.unsettled.get_mut(block) {
                *entry = *written;
            }
        }
    }

    /// Empties the journal: what it holds is written to its places, and a new
    /// epoch begins. Writes the header in any case.
    fn write_to_places(&mut self) -> io::Result<()> {
        let nothing = Batch::default();
        for number in &self.journaled {
            let image = self.image(*number, &nothing);
            self.file.write_all_at(&image, place(*number))?;
        }
        if !self.journaled.is_empty() {
            fdatasync(&self.file)?;
        }
        // Whatever fails now: what is written next goes through here again, and
        // not into an epoch that may be over.
        self.journal.seal();
        self.header.epoch += 1;
        self.save_header()?;
        self.journal = Journal::new(self.header.epoch);
        for number in std::mem::take(&mut self.journaled) {
            if self.unsettled.range(blocks_of(number)).next().is_none() {
                self.dirty.remove(&number);
            }
        }
        Ok(())
    }

    /// Leaf `number` as the file may say it is: what is unsettled is not so
    /// there, unless it is in `batch`.
    fn image(&self, number: u32, batch: &Batch) -> journal::Sector {
        let leaf = self.leaves[number as usize].as_ref();
        let leaf = leaf.expect("a leaf that was changed is known");
        let mut leaf = Leaf::clone(leaf);
        for (block, before) in self.unsettled.range(blocks_of(number)) {
            let entry = batch.0.get(block).unwrap_or(before);
            leaf.set(position(*block).1, *entry);
        }
        leaf.encode(self.header.id, number)
    }
}

/// A header that was written, and may not be durable.
#[derive(Debug)]
pub(crate) struct UnsyncedHeader {
    file: File,
    number: u64,
    durable: Arc<AtomicU64>,
}

impl UnsyncedHeader {
    /// Waits until it is durable.
    ///
    /// # Errors
    /// It may not be.
    pub(crate) fn sync(&self) -> io::Result<()> {
        fdatasync(&self.file)?;
        self.durable.fetch_max(self.number, Ordering::Relaxed);
        Ok(())
    }
}

/// The blocks that leaf `number` describes.
fn blocks_of(number: u32) -> Range<u32> {
    number * BLOCKS..(number + 1) * BLOCKS
}

#[cfg(test)]
mod tests;
