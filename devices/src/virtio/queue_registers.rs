//! The registers of one queue (virtio 1.3 §4.2.2, §4.1.4.3).
//!
//! The transport keeps one set for each queue. The driver writes them, so
//! that only the size is sure to make sense; the rest is vetted when
//! [`Queue`](super::queue::Queue) is built from the layout.

use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::queue::QueueLayout;

/// One half of a 64-bit value: registers hold 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Bits 0 to 31.
    Low,
    /// Bits 32 to 63.
    High,
}

/// Which of a queue's three areas an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The descriptor table.
    Descriptors,
    /// The available ring.
    Available,
    /// The used ring.
    Used,
}

impl Half {
    /// This half of `value`.
    pub(super) fn of(self, value: u64) -> u32 {
        let half = match self {
            Self::Low => value & 0xffff_ffff,
            Self::High => value >> 32,
        };
        u32::try_from(half).expect("32 bits are left")
    }

    /// Replaces this half of `target`.
    pub(super) fn set(self, target: &mut u64, half: u32) {
        *target = match self {
            Self::Low => *target & !0xffff_ffff | u64::from(half),
            Self::High => *target & 0xffff_ffff | u64::from(half) << 32,
        };
    }
}

/// A queue's registers, and the eventfd of its notifications, which outlives
/// resets.
pub(super) struct QueueRegisters {
    pub(super) max_size: u16,
    pub(super) layout: QueueLayout,
    pub(super) ready: bool,
    pub(super) kick: Arc<EventFd>,
}

impl QueueRegisters {
    pub(super) fn new(max_size: u16) -> io::Result<Self> {
        let kick = Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?);
        let mut registers = Self {
            max_size,
            layout: QueueLayout::default(),
            ready: false,
            kick,
        };
        registers.reset();
        Ok(registers)
    }

    pub(super) fn reset(&mut self) {
        self.ready = false;
        self.layout = QueueLayout {
            size: self.max_size,
            ..QueueLayout::default()
        };
    }

    /// Sets the size, if it is allowed, judged before it could be truncated.
    /// Returns whether it is.
    pub(super) fn set_size(&mut self, size: u32) -> bool {
        let allowed = |size: &u16| size.is_power_of_two() && *size <= self.max_size;
        let size = u16::try_from(size).ok().filter(allowed);
        if let Some(size) = size {
            self.layout.size = size;
        }
        size.is_some()
    }

    /// The address of one of the queue's areas.
    pub(super) fn address(&self, area: Area) -> u64 {
        match area {
            Area::Descriptors => self.layout.descriptors,
            Area::Available => self.layout.available,
            Area::Used => self.layout.used,
        }
    }

    /// The same, to be set.
    pub(super) fn address_mut(&mut self, area: Area) -> &mut u64 {
        match area {
            Area::Descriptors => &mut self.layout.descriptors,
            Area::Available => &mut self.layout.available,
            Area::Used => &mut self.layout.used,
        }
    }
}
