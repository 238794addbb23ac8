//! Writing a manifest, block by block.

use std::io::{self, Write};

use super::{END, Entry, Header};
use crate::snapshot::digest::{Digest, Running};

/// Writes a manifest; without [`finish`](Self::finish) it is none.
pub struct ManifestWriter<W> {
    output: W,
    digest: Running,
    blocks: u32,
    next: u32,
}

impl<W: Write> ManifestWriter<W> {
    /// Begins one.
    ///
    /// # Errors
    /// `output` does not take it.
    pub fn new(output: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            output,
            digest: Running::default(),
            blocks: header.size.blocks(),
            next: 0,
        };
        writer.write(&header.encode())?;
        Ok(writer)
    }

    /// Adds the next block that is not all zeroes.
    ///
    /// # Errors
    /// `output` does not take it, or the block is not behind the last one, or
    /// behind the volume's end.
    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.index < self.next || entry.index >= self.blocks {
            let what = format!("block {} does not belong here in a manifest", entry.index);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.next = entry.index + 1;
        self.entry(entry.index, &entry.digest)
    }

    /// Ends it. It is not flushed.
    ///
    /// # Errors
    /// The output does not take it.
    pub fn finish(mut self) -> io::Result<W> {
        let digest = self.digest.clone().finish();
        self.entry(END, &digest)?;
        Ok(self.output)
    }

    fn entry(&mut self, index: u32, digest: &Digest) -> io::Result<()> {
        self.write(&index.to_le_bytes())?;
        self.write(digest.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.output.write_all(bytes)
    }
}
