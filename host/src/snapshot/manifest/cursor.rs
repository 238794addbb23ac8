//! Looking up blocks in a manifest in ascending order, without keeping it.

use std::io::Read;

use super::{BadManifest, Entry, Header, ManifestReader};
use crate::snapshot::digest::Digest;

/// A manifest that is read as far as it is asked for.
pub struct ManifestCursor<R> {
    reader: ManifestReader<R>,
    ahead: Option<Entry>,
}

impl<R: Read> ManifestCursor<R> {
    /// At the beginning of `reader`'s manifest.
    ///
    /// # Errors
    /// It is damaged.
    pub fn new(mut reader: ManifestReader<R>) -> Result<Self, BadManifest> {
        let ahead = reader.next().transpose()?;
        Ok(Self { reader, ahead })
    }

    /// What the manifest is of.
    pub fn header(&self) -> &Header {
        self.reader.header()
    }

    /// The block after the last one that was taken.
    pub fn peek(&self) -> Option<Entry> {
        self.ahead
    }

    /// Takes that block.
    ///
    /// # Errors
    /// It is damaged.
    pub fn take(&mut self) -> Result<Option<Entry>, BadManifest> {
        let next = self.reader.next().transpose()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    /// What block `index` holds; `None` for zeroes. To be asked in ascending
    /// order.
    ///
    /// # Errors
    /// It is damaged.
    pub fn at(&mut self, index: u32) -> Result<Option<Digest>, BadManifest> {
        while self.ahead.is_some_and(|entry| entry.index < index) {
            self.take()?;
        }
        let found = self.ahead.filter(|entry| entry.index == index);
        Ok(found.map(|entry| entry.digest))
    }

    /// Reads the rest, so that all that it said is known to be undamaged.
    ///
    /// # Errors
    /// It is damaged.
    pub fn finish(mut self) -> Result<(), BadManifest> {
        while self.take()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, header, written};
    use super::*;

    fn cursor(bytes: &[u8]) -> ManifestCursor<&[u8]> {
        ManifestCursor::new(ManifestReader::new(bytes).unwrap()).unwrap()
    }

    #[test]
    fn blocks_are_found_in_ascending_order() {
        let bytes = written(&header(), &[entry(2), entry(3), entry(9)]);
        let mut cursor = cursor(&bytes);
        for (index, there) in [
            (0, false),
            (2, true),
            (2, true),
            (8, false),
            (9, true),
            (10, false),
        ] {
            let expected = there.then(|| entry(index).digest);
            assert_eq!(cursor.at(index).unwrap(), expected, "{index}");
        }
        cursor.finish().unwrap();
    }

    #[test]
    fn damage_behind_what_was_asked_for_is_noticed_at_the_end() {
        let mut bytes = written(&header(), &[entry(2), entry(9)]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut cursor = cursor(&bytes);
        assert_eq!(cursor.at(2).unwrap(), Some(entry(2).digest));
        assert!(matches!(cursor.finish(), Err(BadManifest::Checksum)));
    }
}
