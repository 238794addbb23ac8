//! How far an upload is, and what it took.

/// Counts of an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Blocks of the volume.
    pub blocks: u32,
    /// Of these, those that have been seen to.
    pub done: u32,
    /// Of these, those that are not all zeroes.
    pub data_blocks: u32,
    /// Blocks that were read from the volume.
    pub read_blocks: u32,
    /// Of these, those that were not in the store yet.
    pub stored_blocks: u32,
    /// What these take in the store, in bytes.
    pub stored_bytes: u64,
}

impl Figures {
    pub(super) fn new(blocks: u32) -> Self {
        Self {
            blocks,
            ..Self::default()
        }
    }

    /// Counts a chunk that was stored, of this many bytes; `None`: it was
    /// there, or is not stored.
    pub(super) fn add_stored(&mut self, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.stored_blocks += 1;
            self.stored_bytes += bytes;
        }
    }
}
