//! A volume as it was at the moment of a freeze, for whoever stores or copies
//! it, while the volume may be written by another process.
//!
//! What is read counts only if it had not been changed before it was read to
//! the end. The writer keeps the old before it writes the new; so look at what
//! is kept *after* reading what may be new.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::BLOCK;
use crate::entry::Entry;
use crate::freeze::{self, Digest, FreezeError, Moment, Parts, Plan, Share, Stage};
use crate::leaf::{Leaf, position};
use crate::map;

/// What a block held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What the reader's buffer now has.
    Data,
    /// Zeroes.
    Zero,
    /// What it holds in the snapshot that the volume was made from.
    Origin,
    /// What it holds in the parent snapshot.
    Parent,
}

/// A frozen volume.
#[derive(Debug)]
pub struct FrozenView {
    map: File,
    data: File,
    freeze: File,
    kept: File,
    plan: Plan,
    moment: Moment,
    parts: Parts,
    /// The leaf looked at last.
    leaf: Option<(u32, Leaf)>,
    /// Where `data` had a hole when it was last looked for one, in bytes.
    hole: Range<u64>,
}

impl FrozenView {
    /// Opens a freeze whose moment has come. All files are only read, but for
    /// `freeze`, where what is taken is marked.
    ///
    /// # Errors
    /// The freeze cannot be read, or its moment has not come, or it is over.
    pub fn open(map: File, data: File, freeze: File, kept: File) -> Result<Self, FreezeError> {
        let header = freeze::header(&freeze)?;
        let (Stage::Begun, Some(moment)) = (header.stage, header.moment) else {
            return Err(FreezeError::Stage(header.stage));
        };
        Ok(Self {
            map,
            data,
            freeze,
            kept,
            parts: Parts::of(moment.size),
            plan: header.plan,
            moment,
            leaf: None,
            hole: 0..0,
        })
    }

    /// One more view of the same, for another thread.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn another(&self) -> io::Result<Self> {
        Ok(Self {
            map: self.map.try_clone()?,
            data: self.data.try_clone()?,
            freeze: self.freeze.try_clone()?,
            kept: self.kept.try_clone()?,
            plan: self.plan.clone(),
            moment: self.moment,
            parts: self.parts,
            leaf: None,
            hole: 0..0,
        })
    }

    /// What was known of it before its moment.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What was so at the moment.
    pub fn moment(&self) -> &Moment {
        &self.moment
    }

    /// What block `block` of the volume held; in `buffer`, of [`BLOCK`] bytes,
    /// if that says so. The last block is filled up with zeroes.
    ///
    /// # Errors
    /// It cannot be read, or is not kept any more.
    pub fn read(&mut self, block: u32, buffer: &mut [u8]) -> io::Result<Content> {
        Ok(match self.share(block)? {
            Share::Parent => Content::Parent,
            Share::Origin => Content::Origin,
            Share::Zero => Content::Zero,
            Share::Data => {
                self.read_data(block, buffer)?;
                Content::Data
            }
        })
    }

    /// Where block `block` is to be taken from.
    ///
    /// # Errors
    /// That cannot be read.
    pub fn share(&mut self, block: u32) -> io::Result<Share> {
        let entry = self.entry(block)?;
        match freeze::share(entry, &self.plan, &self.moment) {
            Share::Data if self.was_hole(block)? => Ok(Share::Zero),
            share => Ok(share),
        }
    }

    /// Whether block `block`, one that is to be taken from data, is known to have
    /// been a hole at the moment, and so zeroes. Volumes are large and sparse,
    /// and reading a hole takes as long as reading data.
    fn was_hole(&mut self, block: u32) -> io::Result<bool> {
        let start = u64::from(block) * BLOCK;
        let end = self.moment.size.bytes().min(start + BLOCK);
        if !(self.hole.contains(&start) && end <= self.hole.end) {
            self.hole = match rustix::fs::seek(&self.data, SeekFrom::Data(start)) {
                Ok(data) => start..data,
                Err(Errno::NXIO) => start..self.moment.size.bytes(),
                // Not every file system tells.
                Err(_) => start..start,
            };
        }
        // Looked at last: what has not been kept by now had not changed when the
        // hole was seen. What was taken is not kept.
        Ok(end <= self.hole.end
            && !self.parts.is_kept(&self.freeze, block)?
            && self.taken(block)?.is_none()
            && freeze::stage(&self.freeze)? == Some(Stage::Begun))
    }

    /// The digest under which block `block` was stored, if it was.
    ///
    /// # Errors
    /// That cannot be read.
    pub fn taken(&self, block: u32) -> io::Result<Option<Digest>> {
        self.parts.taken(&self.freeze, block)
    }

    /// Notes that block `block` is durable elsewhere, under `digest`: it need not
    /// be kept any more.
    ///
    /// # Errors
    /// It cannot be noted: the block will be read again after an interruption.
    pub fn take(&self, block: u32, digest: &Digest) -> io::Result<()> {
        self.parts.take(&self.freeze, block, digest)
    }

    fn entry(&mut self, block: u32) -> io::Result<Entry> {
        let (number, index) = position(block);
        match &self.leaf {
            Some((known, leaf)) if *known == number => Ok(leaf.get(index)),
            _ => {
                let leaf = self.frozen_leaf(number)?;
                let entry = leaf.get(index);
                self.leaf = Some((number, leaf));
                Ok(entry)
            }
        }
    }

    fn frozen_leaf(&self, number: u32) -> io::Result<Leaf> {
        let id = self.plan.volume;
        // Read first, looked at last: it may be changed, or changing.
        let in_map = map::read_leaf(&self.map, id, number, map::place(number));
        if let Some(leaf) = freeze::saved_leaf(&self.freeze, id, number)? {
            return Ok(leaf);
        }
        Ok(in_map?.unwrap_or_else(|| Leaf::untouched(self.moment.fresh)))
    }

    fn read_data(&self, block: u32, buffer: &mut [u8]) -> io::Result<()> {
        let size = self.moment.size.bytes();
        let offset = u64::from(block) * BLOCK;
        let len = usize::try_from(BLOCK.min(size - offset)).map_err(io::Error::other)?;
        let (bytes, rest) = buffer.split_at_mut(len);
        rest.fill(0);
        self.data.read_exact_at(bytes, offset)?;
        if self.parts.is_kept(&self.freeze, block)? {
            self.kept.read_exact_at(bytes, offset)?;
        }
        // It is cut to nothing when a block could not be kept.
        let whole = self.kept.metadata()?.len() == size;
        match freeze::stage(&self.freeze)? {
            Some(Stage::Begun) if whole => Ok(()),
            _ => Err(io::Error::other(
                "there was no space to keep a block that the guest wrote to",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
