//! The flush of a volume that no driver asked for: one at a time, in a slot of
//! its own. That it failed is the driver's to know: its next flush is no success
//! if anything may be lost.

use std::io;

use vm_memory::GuestMemoryMmap;

use super::disk::{Completion, Operation};
use super::mapped_disk::Unsettled;
use crate::memory::Ram;
use crate::virtio::buffers::Buffers;

/// How far it is.
pub(super) enum OwnFlush {
    /// With what it holds on to.
    Idle(Buffers),
    UnderWay,
    /// There is none before the driver's next. With the error if anything may
    /// be lost.
    Failed(Buffers, Option<io::Error>),
}

impl OwnFlush {
    pub(super) fn new() -> Self {
        Self::Idle(Buffers::new(Ram::new(GuestMemoryMmap::new())))
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::UnderWay)
    }

    /// A flush to be submitted, unless one is under way or has failed.
    pub(super) fn begin(&mut self) -> Option<Operation> {
        match std::mem::replace(self, Self::UnderWay) {
            Self::Idle(data) => Some(Operation::flush(data)),
            other => {
                *self = other;
                None
            }
        }
    }

    /// It is done.
    pub(super) fn end(&mut self, flush: Completion) {
        *self = match flush.result {
            Ok(()) => Self::Idle(flush.data),
            Err(error) => {
                let source = error.get_ref();
                let lost = !source.is_some_and(|source| source.is::<Unsettled>());
                Self::Failed(flush.data, lost.then_some(error))
            }
        };
    }

    /// The driver flushes.
    ///
    /// # Errors
    /// It must hear that what it wrote may be lost. It has heard so then.
    pub(super) fn tell(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::UnderWay) {
            Self::Failed(data, lost) => {
                *self = Self::Idle(data);
                lost.map_or(Ok(()), Err)
            }
            other => {
                *self = other;
                Ok(())
            }
        }
    }
}
