//! A piece of guest memory and where its bytes come from.
//!
//! Every part of a boot plan is made of these; the VMM performs them. A
//! segment refers to the kernel and the initrd by file range and holds bytes
//! only where this crate made them.

use std::fmt;
use std::ops::Range;

use crate::{Error, Result};

/// A piece of guest memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it is, for messages.
    pub name: &'static str,
    /// Its first guest-physical address.
    pub address: u64,
    /// Its length in guest memory, in bytes. What lies beyond its content must
    /// read as zero, as fresh memory does.
    pub length: u64,
    /// What it starts with.
    pub content: Content,
}

/// Where the bytes of a segment come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A range of the kernel image, in bytes.
    Kernel {
        /// Where it starts in the file.
        offset: u64,
        /// Its length; at most the segment's.
        length: u64,
    },
    /// The whole initrd.
    Initrd {
        /// Its length in bytes; the segment's.
        length: u64,
    },
    /// Bytes made by this crate; as many as the segment has.
    Bytes(Vec<u8>),
    /// Nothing but zeros.
    Zero,
}

impl Segment {
    /// A segment of exactly these bytes.
    pub(crate) fn bytes(name: &'static str, address: u64, bytes: Vec<u8>) -> Self {
        Segment {
            name,
            address,
            length: bytes.len() as u64,
            content: Content::Bytes(bytes),
        }
    }

    pub(crate) fn initrd(place: Range<u64>) -> Self {
        let length = place.end - place.start;
        Segment {
            name: "initrd",
            address: place.start,
            length,
            content: Content::Initrd { length },
        }
    }

    /// The guest-physical addresses it takes.
    pub fn range(&self) -> Range<u64> {
        self.address..self.end()
    }

    /// The address after its last; where there is none, RAM ends before it
    /// too.
    pub(crate) fn end(&self) -> u64 {
        self.address.saturating_add(self.length)
    }

    pub(crate) fn overlaps(&self, other: &Range<u64>) -> bool {
        self.address < other.end && other.start < self.end()
    }

    /// Whether the byte at `address` comes from the kernel image.
    pub(crate) fn has_content_at(&self, address: u64) -> bool {
        match self.content {
            Content::Kernel { length, .. } => {
                (self.address..self.address + length).contains(&address)
            }
            _ => false,
        }
    }

    pub(crate) fn check_inside(&self, ram: &Range<u64>) -> Result<()> {
        if self.address < ram.start || self.end() > ram.end {
            return Err(Error::OutsideRam {
                what: self.name,
                needs: self.range(),
                ram: ram.clone(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range();
        write!(f, "{} {start:#x}-{end:#x} {:?}", self.name, self.content)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Kernel { offset, length } => write!(f, "kernel bytes {length} at {offset:#x}"),
            Content::Initrd { length } => write!(f, "initrd bytes {length}"),
            Content::Bytes(bytes) => write!(f, "bytes {}", bytes.len()),
            Content::Zero => f.write_str("zero"),
        }
    }
}
