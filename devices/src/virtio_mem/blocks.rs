//! Which blocks of the region are plugged.

use std::ops::Range;

/// Bytes in a block: as much as the guest's smallest huge page, so that what
/// comes and goes is whole ones.
pub(super) const BLOCK: u64 = 2 << 20;

/// The region and the state of its blocks.
#[derive(Debug)]
pub(super) struct Blocks {
    region: Range<u64>,
    plugged: Vec<bool>,
    count: u64,
}

/// Whether some blocks are plugged (§5.15.6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Plugged,
    Unplugged,
    /// Some are, some are not.
    Mixed,
}

impl Blocks {
    /// A region of whole blocks, none of them plugged.
    pub(super) fn new(region: Range<u64>) -> Self {
        let count = (region.end - region.start) / BLOCK;
        let count = usize::try_from(count).expect("guest memory fits the address space");
        Self {
            region,
            plugged: vec![false; count],
            count: 0,
        }
    }

    pub(super) fn region(&self) -> Range<u64> {
        self.region.clone()
    }

    /// Plugged bytes.
    pub(super) fn plugged_bytes(&self) -> u64 {
        self.count * BLOCK
    }

    /// The range of guest memory that `count` blocks from `address` on are;
    /// none if that is not one or more blocks of the region.
    pub(super) fn range(&self, address: u64, count: u16) -> Option<Range<u64>> {
        let end = address.checked_add(u64::from(count) * BLOCK)?;
        let within = self.region.start <= address && end <= self.region.end;
        let whole = address.is_multiple_of(BLOCK) && count > 0;
        (within && whole).then_some(address..end)
    }

    /// What state the blocks of a `range` are in.
    pub(super) fn state(&self, range: &Range<u64>) -> State {
        let blocks = &self.plugged[self.indices(range)];
        if blocks.iter().all(|plugged| *plugged) {
            State::Plugged
        } else if blocks.iter().any(|plugged| *plugged) {
            State::Mixed
        } else {
            State::Unplugged
        }
    }

    /// Plugs or unplugs all blocks of a `range` that is in the other state.
    pub(super) fn set(&mut self, range: &Range<u64>, plugged: bool) {
        let indices = self.indices(range);
        let changed = indices.len() as u64;
        self.plugged[indices].fill(plugged);
        if plugged {
            self.count += changed;
        } else {
            self.count -= changed;
        }
    }

    /// Unplugs everything.
    pub(super) fn clear(&mut self) {
        self.plugged.fill(false);
        self.count = 0;
    }

    fn indices(&self, range: &Range<u64>) -> Range<usize> {
        let index = |address| {
            let index = (address - self.region.start) / BLOCK;
            usize::try_from(index).expect("guest memory fits the address space")
        };
        index(range.start)..index(range.end)
    }
}
