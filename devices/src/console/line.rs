//! The guest's end of a console: a serial port or a virtio console.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

/// What a guest reads from. Its queue is bounded; nobody waits.
pub trait Line: Send {
    /// How many bytes [`receive`](Self::receive) would take now. If that is
    /// less than half the queue, [`room_event`](Self::room_event) is signalled
    /// once half of it is free.
    fn room(&self) -> usize;

    /// Sends `bytes` to the guest and says how many of them were taken; the
    /// rest found no room.
    fn receive(&self, bytes: &[u8]) -> usize;

    /// Sends a break to the guest, after the input that is already queued.
    /// Lost when there is no room.
    fn receive_break(&self);

    /// Signalled when there is room after there was little, and once at the
    /// start.
    fn room_event(&self) -> Arc<EventFd>;
}
