//! What a guest has sent and its host program has not taken yet.
//!
//! Empty as long as the program keeps up. How much it can hold is up to the
//! connection's [`credit`](super::credit).

use crate::virtio::buffers::Buffers;

/// Bytes that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// How many at the front are taken.
    taken: usize,
}

impl Outbox {
    /// What waits.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Appends what is left in `data`.
    pub(super) fn append(&mut self, data: &mut Buffers) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let start = self.bytes.len();
        let len = usize::try_from(data.len()).expect("a packet is short");
        self.bytes.resize(start + len, 0);
        data.read(&mut self.bytes[start..])
            .expect("as much is read as there is");
    }

    /// The first `count` bytes are taken. An empty box uses no memory.
    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
