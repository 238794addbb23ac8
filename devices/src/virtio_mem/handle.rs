//! The host's side of memory that grows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocks::BLOCK;
use super::shared::Shared;
use crate::counter::Counter;

/// What the device has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes plugged.
    pub plugged_bytes: Counter,
    /// Bytes unplugged, and given back to the host.
    pub unplugged_bytes: Counter,
    /// Requests that no driver should make, or that are malformed.
    pub faults: Counter,
    /// Times that the host did not take memory back.
    pub refusals: Counter,
}

/// Operates memory that grows, from any thread. Clones are the same.
#[derive(Clone, Debug)]
pub struct MemHandle(pub(super) Arc<Shared>);

/// An amount that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{asked} bytes of additional memory are not possible: ask for a multiple of {step}, {most} at most"
)]
pub struct AmountError {
    /// What was asked for.
    pub asked: u64,
    /// What the machine can grow by.
    pub most: u64,
    /// What it is to be a multiple of.
    pub step: u64,
}

impl MemHandle {
    /// Asks the guest to have `bytes` more than it started with: it plugs or
    /// unplugs blocks until it has. This is a wish, since it may not get
    /// blocks free; what came of it is [`plugged`](Self::plugged). It is kept
    /// for a driver that comes later.
    ///
    /// # Errors
    /// That is not whole blocks of 2 MiB, or more than
    /// [`most`](Self::most).
    pub fn request(&self, bytes: u64) -> Result<(), AmountError> {
        if bytes > self.most() || !bytes.is_multiple_of(BLOCK) {
            return Err(AmountError {
                asked: bytes,
                most: self.most(),
                step: BLOCK,
            });
        }
        if self.0.requested.swap(bytes, Ordering::AcqRel) != bytes
            && let Some(interrupt) = &*self.0.interrupt()
        {
            interrupt.config_changed();
        }
        Ok(())
    }

    /// How many bytes the guest should have plugged.
    pub fn requested(&self) -> u64 {
        self.0.requested.load(Ordering::Acquire)
    }

    /// How many bytes it has plugged.
    pub fn plugged(&self) -> u64 {
        self.0.plugged.load(Ordering::Acquire)
    }

    /// The most that it can have plugged.
    pub fn most(&self) -> u64 {
        self.0.region.end - self.0.region.start
    }

    /// What the device has done so far.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}
