//! A volume as it was at a moment, as an upload sees it.

use std::io;

use volume::freeze::Share;
use volume::frozen::{Content, FrozenView};

use crate::snapshot::chunk::Block;
use crate::snapshot::digest::Digest;

/// The blocks of a frozen volume.
pub trait BlockSource {
    /// Where block `index` is to be taken from.
    ///
    /// # Errors
    /// That cannot be read.
    fn share(&mut self, index: u32) -> io::Result<Share>;

    /// Reads block `index`, one that is to be taken from data, into `block`;
    /// zeroes fill the last one up.
    ///
    /// # Errors
    /// It cannot be read, or is not kept any more.
    fn read(&mut self, index: u32, block: &mut Block) -> io::Result<()>;

    /// The name under which block `index` was stored by an upload that was
    /// interrupted.
    ///
    /// # Errors
    /// That cannot be read.
    fn taken(&self, index: u32) -> io::Result<Option<Digest>>;

    /// Block `index` is durable in the store as `digest`, and need not be kept.
    ///
    /// # Errors
    /// That cannot be noted.
    fn take(&self, index: u32, digest: &Digest) -> io::Result<()>;
}

impl BlockSource for FrozenView {
    fn share(&mut self, index: u32) -> io::Result<Share> {
        Self::share(self, index)
    }

    fn read(&mut self, index: u32, block: &mut Block) -> io::Result<()> {
        match Self::read(self, index, block)? {
            Content::Data => Ok(()),
            Content::Zero | Content::Origin | Content::Parent => {
                Err(io::Error::other("the volume's frozen map was changed"))
            }
        }
    }

    fn taken(&self, index: u32) -> io::Result<Option<Digest>> {
        Ok(Self::taken(self, index)?.map(Digest::from_bytes))
    }

    fn take(&self, index: u32, digest: &Digest) -> io::Result<()> {
        Self::take(self, index, digest.as_bytes())
    }
}
