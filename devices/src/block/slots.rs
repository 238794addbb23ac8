//! Room for the requests that a worker has taken on.
//!
//! A request occupies a slot from when it is popped until it is answered, and
//! the disk knows it by the slot's number. All slots are made when the worker
//! is, and their lists of buffers are reused: the data path does not allocate.

use std::ops::{Index, IndexMut};

use super::disk::{OperationKind, Slot};
use super::request::Reply;
use crate::clock::Nanos;
use crate::memory::Ram;
use crate::virtio::chain::Chain;

/// What a slot holds.
pub(super) struct Entry {
    /// The request, less what the disk has of it.
    pub(super) chain: Chain,
    /// Set while the disk works on it.
    pub(super) pending: Option<Pending>,
}

/// What is known of a request while the disk works on it.
pub(super) struct Pending {
    pub(super) reply: Reply,
    pub(super) kind: OperationKind,
    pub(super) len: u64,
    /// When it was taken on.
    pub(super) since: Nanos,
    /// What it asked for is done and is being made durable.
    pub(super) syncing: bool,
}

/// All slots of a worker.
pub(super) struct Slots {
    entries: Vec<Entry>,
    free: Vec<Slot>,
}

impl Slots {
    /// `count` slots for requests in `ram`.
    pub(super) fn new(count: usize, ram: &Ram) -> Self {
        let entry = |_| Entry {
            chain: Chain::new(ram),
            pending: None,
        };
        Self {
            entries: (0..count).map(entry).collect(),
            free: (0..count).rev().collect(),
        }
    }

    /// The slot that [`occupy`](Self::occupy) would take, if there is one.
    pub(super) fn vacant(&self) -> Option<Slot> {
        self.free.last().copied()
    }

    /// Takes the vacant slot.
    pub(super) fn occupy(&mut self) {
        self.free.pop();
    }

    /// Frees an occupied slot.
    pub(super) fn release(&mut self, slot: Slot) {
        self.free.push(slot);
    }

    /// How many slots are occupied.
    pub(super) fn occupied(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether no slot is occupied.
    pub(super) fn are_vacant(&self) -> bool {
        self.free.len() == self.entries.len()
    }
}

impl Index<Slot> for Slots {
    type Output = Entry;

    fn index(&self, slot: Slot) -> &Entry {
        &self.entries[slot]
    }
}

impl IndexMut<Slot> for Slots {
    fn index_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot]
    }
}
