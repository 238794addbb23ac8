//! What was typed and the guest has not read yet: the bounded queue between
//! the host's end of the console and the device's worker.
//!
//! The lock is a leaf, held for a copy of a few bytes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::console::line::Line;

/// How many bytes may wait for the guest.
const CAPACITY: usize = 4096;

/// What Linux takes for a break on such a console: Ctrl-O, the way to its
/// magic keys (drivers/tty/hvc/hvc_console.c).
const BREAK: u8 = 0x0f;

/// The queue. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct Keyboard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    typed: EventFd,
    room: Arc<EventFd>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: VecDeque<u8>,
    /// The host's side found little room and waits for the event.
    wants_room: bool,
}

impl Keyboard {
    /// An empty queue.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EFD_NONBLOCK | EFD_CLOEXEC;
        // Signalled from the start, so that whoever has input looks once.
        let room = Arc::new(EventFd::new(flags)?);
        room.write(1)?;
        Ok(Self(Arc::new(Shared {
            queue: Mutex::default(),
            typed: EventFd::new(flags)?,
            room,
        })))
    }

    /// The descriptor that becomes readable when something was typed.
    pub(super) fn typed_fd(&self) -> RawFd {
        self.0.typed.as_raw_fd()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue().bytes.is_empty()
    }

    /// Moves what fits into `into`, the oldest first, and says how much.
    pub(super) fn take(&self, into: &mut [u8]) -> usize {
        let mut queue = self.queue();
        let count = queue.bytes.len().min(into.len());
        for (byte, place) in queue.bytes.drain(..count).zip(into) {
            *place = byte;
        }
        if queue.wants_room && queue.bytes.len() <= CAPACITY / 2 {
            queue.wants_room = false;
            let _ = self.0.room.write(1);
        }
        count
    }

    /// Plain bytes: valid even if a holder panicked.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line for Keyboard {
    fn room(&self) -> usize {
        let mut queue = self.queue();
        let room = CAPACITY - queue.bytes.len();
        queue.wants_room = room < CAPACITY / 2;
        room
    }

    fn receive(&self, bytes: &[u8]) -> usize {
        let mut queue = self.queue();
        let taken = bytes.len().min(CAPACITY - queue.bytes.len());
        queue.bytes.extend(&bytes[..taken]);
        drop(queue);
        let _ = self.0.typed.write(1);
        taken
    }

    fn receive_break(&self) {
        self.receive(&[BREAK]);
    }

    fn room_event(&self) -> Arc<EventFd> {
        Arc::clone(&self.0.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_left_to_the_typist() {
        let keyboard = Keyboard::new().unwrap();
        assert_eq!(keyboard.receive(&[b'x'; CAPACITY + 10]), CAPACITY);
        assert_eq!(keyboard.receive(b"more"), 0);
        let mut bytes = [0; 10];
        assert_eq!(keyboard.take(&mut bytes), 10);
        assert_eq!(&bytes, b"xxxxxxxxxx");
        assert_eq!(keyboard.room(), 10);
    }

    #[test]
    fn room_is_announced_once_half_of_it_is_free() {
        let keyboard = Keyboard::new().unwrap();
        let room = keyboard.room_event();
        assert_eq!(room.read().unwrap(), 1, "from the start");
        keyboard.receive(&[b'x'; CAPACITY]);
        assert_eq!(keyboard.room(), 0);
        keyboard.take(&mut [0; CAPACITY / 2 - 1]);
        assert!(room.read().is_err());
        keyboard.take(&mut [0]);
        assert_eq!(room.read().unwrap(), 1);
        keyboard.take(&mut [0]);
        assert!(room.read().is_err(), "once");
    }
}
