//! MSI-X: interrupts as messages, one vector for each purpose (PCI Local Bus
//! Specification 3.0 §6.8.2).
//!
//! The table of vectors is written by the guest's accesses to a BAR; workers
//! raise vectors from their own threads. Both meet in atomics: raising costs
//! two loads and the message, and takes no lock. A vector that is raised while
//! it is masked becomes pending, and is sent when it is unmasked: neither side
//! can miss the other, since each writes its own flag before it reads the
//! other's, in one order for all threads.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use vmm_sys_util::eventfd::EventFd;

/// The capability's id.
pub const CAPABILITY: u8 = 0x11;
/// Bytes of the capability's body, behind id and link.
pub const CAPABILITY_LEN: usize = 10;
/// Bytes of a table entry.
pub const ENTRY: u64 = 16;
/// Message control: the function interrupts by MSI-X.
pub const ENABLE: u16 = 1 << 15;
/// Message control: all vectors are masked.
pub const FUNCTION_MASK: u16 = 1 << 14;
/// Most vectors: as many as fit one word of pending bits.
pub const MAX_VECTORS: u16 = 64;

/// Vector control: the vector is masked.
const MASKED: u32 = 1;

/// What a vector sends: for x86, which vCPU and what vector there (SDM vol. 3
/// §11.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is written to.
    pub address: u64,
    /// What is written.
    pub data: u32,
}

/// Delivers messages.
pub trait MessageSink: Send + Sync {
    /// Delivers one, and never blocks. One that makes no sense, the guest's own fault, is lost.
    fn send(&self, message: Message);

    /// Has signals to `call` deliver messages; none yet.
    ///
    /// # Errors
    /// The machine refuses.
    fn wire(&self, call: &EventFd) -> io::Result<Box<dyn Wire>>;
}

/// Signals to an eventfd that are messages, until it is dropped; with KVM: an irqfd.
pub trait Wire: Send {
    /// They deliver `message` from now on. While there is none they stay in the
    /// eventfd, and deliver one when there is. May take a moment.
    ///
    /// # Errors
    /// The machine refuses; they stay in the eventfd.
    fn lead_to(&mut self, message: Option<Message>) -> io::Result<()>;
}

/// A table entry. A vector whose address is torn, because the guest changes it
/// while it is not masked, sends to where neither it nor we meant.
#[derive(Default)]
struct Vector {
    address: AtomicU64,
    data: AtomicU32,
    control: AtomicU32,
}

impl Vector {
    fn message(&self) -> Message {
        Message {
            address: self.address.load(SeqCst),
            data: self.data.load(SeqCst),
        }
    }
}

struct Shared {
    vectors: Box<[Vector]>,
    /// One bit for each vector.
    pending: AtomicU64,
    enabled: AtomicBool,
    function_mask: AtomicBool,
    sink: Arc<dyn MessageSink>,
}

/// A function's vectors. Clones are the same.
#[derive(Clone)]
pub struct Msix(Arc<Shared>);

impl fmt::Debug for Msix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Msix").finish_non_exhaustive()
    }
}

impl Msix {
    /// `count` vectors, [`MAX_VECTORS`] at most, all masked, that send to
    /// `sink`.
    pub fn new(count: u16, sink: Arc<dyn MessageSink>) -> Self {
        let masked = || Vector {
            control: AtomicU32::new(MASKED),
            ..Vector::default()
        };
        let vectors = (0..count.min(MAX_VECTORS)).map(|_| masked());
        Self(Arc::new(Shared {
            vectors: vectors.collect(),
            pending: AtomicU64::new(0),
            enabled: AtomicBool::new(false),
            function_mask: AtomicBool::new(false),
            sink,
        }))
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        u16::try_from(self.0.vectors.len()).expect("no more than the most")
    }

    /// The capability's body, and the bits of it that the guest may change:
    /// the table lies at `table` and the pending bits at `pending` in BAR 0.
    pub fn capability(
        &self,
        table: u32,
        pending: u32,
    ) -> ([u8; CAPABILITY_LEN], [u8; CAPABILITY_LEN]) {
        let mut body = [0; CAPABILITY_LEN];
        let mut writable = [0; CAPABILITY_LEN];
        body[..2].copy_from_slice(&(self.count() - 1).to_le_bytes());
        body[2..6].copy_from_slice(&table.to_le_bytes());
        body[6..].copy_from_slice(&pending.to_le_bytes());
        writable[..2].copy_from_slice(&(ENABLE | FUNCTION_MASK).to_le_bytes());
        (body, writable)
    }

    /// Whether the function interrupts by MSI-X.
    pub fn is_enabled(&self) -> bool {
        self.0.enabled.load(SeqCst)
    }

    /// The guest writes the capability's message control.
    pub fn set_control(&self, control: u16) {
        self.0.enabled.store(control & ENABLE != 0, SeqCst);
        self.0
            .function_mask
            .store(control & FUNCTION_MASK != 0, SeqCst);
        for index in 0..self.count() {
            self.deliver_pending(index);
        }
    }

    /// Raises vector `index`; one that is not there is the guest's fault.
    pub fn raise(&self, index: u16) {
        let Some(vector) = self.0.vectors.get(usize::from(index)) else {
            return;
        };
        if self.is_open(vector) {
            self.send(vector);
            return;
        }
        self.0.pending.fetch_or(1 << index, SeqCst);
        // It may have been unmasked in between.
        self.deliver_pending(index);
    }

    /// Has signals to `call` deliver messages; see [`MessageSink::wire`].
    ///
    /// # Errors
    /// The machine refuses.
    pub fn wire(&self, call: &EventFd) -> io::Result<Box<dyn Wire>> {
        self.0.sink.wire(call)
    }

    /// What vector `index` sends now, if it may send anything.
    pub fn message(&self, index: u16) -> Option<Message> {
        let vector = self.0.vectors.get(usize::from(index))?;
        self.is_open(vector).then(|| vector.message())
    }

    /// The guest reads the table.
    pub fn read_table(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let Some((vector, field)) = self.field(offset) else {
            return;
        };
        let address = vector.address.load(SeqCst).to_le_bytes();
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&address);
        entry[8..12].copy_from_slice(&vector.data.load(SeqCst).to_le_bytes());
        entry[12..].copy_from_slice(&vector.control.load(SeqCst).to_le_bytes());
        let len = data.len().min(entry.len() - field);
        data[..len].copy_from_slice(&entry[field..field + len]);
    }

    /// The guest writes the table, in aligned words of 32 or 64 bits (§6.8.2);
    /// other accesses are ignored.
    pub fn write_table(&self, offset: u64, data: &[u8]) {
        let words = data.chunks_exact(4);
        if !offset.is_multiple_of(data.len() as u64) || !words.remainder().is_empty() {
            return;
        }
        for (at, word) in (offset..).step_by(4).zip(words) {
            let word = word.try_into().map_or(0, u32::from_le_bytes);
            self.write_word(at, word);
        }
    }

    /// The guest reads the pending bits.
    pub fn read_pending(&self, offset: u64, data: &mut [u8]) {
        let pending = self.0.pending.load(SeqCst).to_le_bytes();
        for (at, byte) in (offset..).zip(data) {
            let at = usize::try_from(at).ok();
            *byte = at.and_then(|at| pending.get(at)).copied().unwrap_or(0);
        }
    }

    fn write_word(&self, offset: u64, word: u32) {
        let Some((vector, field)) = self.field(offset) else {
            return;
        };
        let address = vector.address.load(SeqCst);
        match field {
            0 => vector
                .address
                .store(address & !0xffff_ffff | u64::from(word), SeqCst),
            4 => vector
                .address
                .store(address & 0xffff_ffff | u64::from(word) << 32, SeqCst),
            8 => vector.data.store(word, SeqCst),
            _ => {
                vector.control.store(word & MASKED, SeqCst);
                let index = u16::try_from(offset / ENTRY).expect("there is such a vector");
                self.deliver_pending(index);
            }
        }
    }

    /// The vector at `offset` of the table, and the offset in its entry.
    fn field(&self, offset: u64) -> Option<(&Vector, usize)> {
        let index = usize::try_from(offset / ENTRY).ok()?;
        let field = usize::try_from(offset % ENTRY).ok()?;
        Some((self.0.vectors.get(index)?, field))
    }

    /// Whether what is raised now is sent.
    fn is_open(&self, vector: &Vector) -> bool {
        let unmasked = vector.control.load(SeqCst) & MASKED == 0;
        unmasked && self.is_enabled() && !self.0.function_mask.load(SeqCst)
    }

    /// Sends what vector `index` owes, if it may.
    fn deliver_pending(&self, index: u16) {
        let vector = &self.0.vectors[usize::from(index)];
        let bit = 1 << index;
        if self.is_open(vector) && self.0.pending.fetch_and(!bit, SeqCst) & bit != 0 {
            self.send(vector);
        }
    }

    fn send(&self, vector: &Vector) {
        self.0.sink.send(vector.message());
    }
}

#[cfg(test)]
mod tests;
