//! A volume in memory, for tests of what is done with snapshots.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use volume::entry::Generation;
use volume::freeze::Share;
use volume::id::{SnapshotId, VolumeId};
use volume::size::VolumeSize;

use super::block_reader::{BlockReader, Content};
use super::chunk::{self, BLOCK, Block};
use super::digest::Digest;
use super::lock::Adding;
use super::manifest::Header;
use super::record::About;
use super::store::Store;
use super::test_blocks::text;
use super::upload::{BlockSource, Figures, Upload, upload};
use crate::error::Error;

/// The blocks of a volume that a snapshot is taken of.
#[derive(Default)]
pub(super) struct TestVolume {
    pub(super) blocks: u32,
    pub(super) shares: BTreeMap<u32, Share>,
    pub(super) data: HashMap<u32, Box<Block>>,
    pub(super) taken: RefCell<HashMap<u32, Digest>>,
    /// How often a block was read.
    pub(super) reads: usize,
    /// This block cannot be read.
    pub(super) broken: Option<u32>,
}

impl TestVolume {
    /// A volume with these blocks of text, by index and seed; the rest is zero.
    pub(super) fn new(blocks: u32, seeds: &[(u32, u32)]) -> Self {
        let mut volume = Self {
            blocks,
            ..Self::default()
        };
        for &(index, seed) in seeds {
            volume.set(index, text(seed));
        }
        volume
    }

    pub(super) fn set(&mut self, index: u32, block: Box<Block>) {
        self.shares.insert(index, Share::Data);
        self.data.insert(index, block);
    }

    /// Stores it as `snap-…NUMBER`.
    pub(super) fn store(
        &mut self,
        number: u32,
        parent: Option<u32>,
        origin: Option<u32>,
        store: &dyn Store,
        data: &Path,
    ) -> Result<Figures, Error> {
        let to_store = Upload {
            header: Header {
                snapshot: id(number),
                volume: volume_id(),
                size: VolumeSize::new(u64::from(self.blocks) * BLOCK as u64).unwrap(),
                created: u64::from(number),
                generation: Generation::new(number).unwrap(),
                parent: parent.map(|parent| (id(parent), Generation::new(parent).unwrap())),
            },
            about: About {
                volume_name: "data".into(),
                ..About::default()
            },
            origin: origin.map(id),
            source: self,
        };
        let lock = Adding::wait(data)?;
        upload(to_store, store, &lock, &mut |_| {})
    }
}

impl BlockSource for TestVolume {
    fn share(&mut self, index: u32) -> io::Result<Share> {
        Ok(*self.shares.get(&index).unwrap_or(&Share::Zero))
    }

    fn read(&mut self, index: u32, block: &mut Block) -> io::Result<()> {
        if self.broken == Some(index) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.reads += 1;
        *block = *self.data[&index];
        Ok(())
    }

    fn taken(&self, index: u32) -> io::Result<Option<Digest>> {
        Ok(self.taken.borrow().get(&index).copied())
    }

    fn take(&self, index: u32, digest: &Digest) -> io::Result<()> {
        self.taken.borrow_mut().insert(index, *digest);
        Ok(())
    }
}

/// The id `snap-…NUMBER`.
pub(super) fn id(number: u32) -> SnapshotId {
    format!("snap-{number:017x}").parse().unwrap()
}

pub(super) fn volume_id() -> VolumeId {
    "vol-00000000000000001".parse().unwrap()
}

/// What snapshot `number` has, by the block: the digests of those that are not
/// zero, each read and checked.
pub(super) fn contents(
    store: &Arc<dyn Store>,
    number: u32,
) -> Result<BTreeMap<u32, Digest>, Error> {
    let mut reader = BlockReader::open(Arc::clone(store), id(number))?;
    let mut block = chunk::empty();
    let mut contents = BTreeMap::new();
    for index in 0..reader.header().size.blocks() {
        if reader.read(index, &mut block)? == Content::Data {
            contents.insert(index, Digest::of(&*block));
        }
    }
    Ok(contents)
}

/// What [`contents`] says of blocks of text by index and seed.
pub(super) fn of_texts(seeds: &[(u32, u32)]) -> BTreeMap<u32, Digest> {
    let digest = |&(index, seed): &(u32, u32)| (index, Digest::of(&*text(seed)));
    seeds.iter().map(digest).collect()
}
