//! Reading a manifest, block by block.

use std::io::{self, BufReader, Read};

use super::{BadManifest, END, ENTRY, Entry, HEADER, Header};
use crate::snapshot::digest::{Digest, Running};

/// Reads a manifest. What it gave was in the manifest only if it came to the
/// end: there is the checksum.
pub struct ManifestReader<R> {
    input: BufReader<R>,
    digest: Running,
    header: Header,
    position: u64,
    next: u32,
    ended: bool,
}

impl<R: Read> ManifestReader<R> {
    /// Begins to read one.
    ///
    /// # Errors
    /// Its header is none, or cannot be read.
    pub fn new(input: R) -> Result<Self, BadManifest> {
        let mut input = BufReader::new(input);
        let mut bytes = [0; HEADER];
        fill(&mut input, &mut bytes, 0)?;
        let mut digest = Running::default();
        digest.update(&bytes);
        Ok(Self {
            input,
            digest,
            header: Header::decode(&bytes)?,
            position: HEADER as u64,
            next: 0,
            ended: false,
        })
    }

    /// What it is of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn advance(&mut self) -> Result<Option<Entry>, BadManifest> {
        let mut bytes = [0; ENTRY];
        fill(&mut self.input, &mut bytes, self.position)?;
        let [a, b, c, d, digest @ ..] = bytes;
        let index = u32::from_le_bytes([a, b, c, d]);
        let digest = Digest::from_bytes(digest);
        if index == END {
            return self.end(&digest).map(|()| None);
        }
        if index < self.next {
            return Err(BadManifest::Order(index));
        }
        if index >= self.header.size.blocks() {
            return Err(BadManifest::Beyond(index));
        }
        self.digest.update(&bytes);
        self.position += ENTRY as u64;
        self.next = index + 1;
        Ok(Some(Entry { index, digest }))
    }

    fn end(&mut self, digest: &Digest) -> Result<(), BadManifest> {
        if self.digest.clone().finish() != *digest {
            return Err(BadManifest::Checksum);
        }
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(BadManifest::Trailing),
        }
    }
}

/// The blocks that are not all zeroes, in ascending order; then, if the
/// checksum is right, nothing more. It ends with an error otherwise.
impl<R: Read> Iterator for ManifestReader<R> {
    type Item = Result<Entry, BadManifest>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn fill(input: &mut impl Read, bytes: &mut [u8], position: u64) -> Result<(), BadManifest> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BadManifest::Truncated(position),
        _ => BadManifest::Io(error),
    })
}
