//! The bounded buffer between the guest's output and the host.
//!
//! vCPUs write, [`ConsoleOutput`](super::output::ConsoleOutput) takes. When
//! it is full the oldest bytes are lost and counted: a slow reader never
//! blocks a vCPU, and a console that nobody reads keeps the guest's last
//! words.
//!
//! A guest writes its console byte by byte, each an exit. Waking the worker
//! for each would cost more than the write, so the first byte arms a timer
//! and the worker gathers what came until it fires: one system call for each
//! burst on the vCPU's side, a delay that nobody sees on the reader's.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// How many bytes are kept for a reader that is slow.
pub const CAPACITY: usize = 64 * 1024;

/// How long output may wait for more output.
const GATHER: Duration = Duration::from_millis(2);

/// The buffer. Clones are the same buffer.
#[derive(Clone, Debug)]
pub struct ConsoleBuffer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    timer: OwnedFd,
}

#[derive(Debug, Default)]
struct Ring {
    bytes: VecDeque<u8>,
    lost: u64,
    /// The reader has been told, or knows, that there is something.
    announced: bool,
}

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(CAPACITY)..];
        let overflow = (self.bytes.len() + kept.len()).saturating_sub(CAPACITY);
        self.bytes.drain(..overflow);
        self.bytes.extend(kept);
        self.lost += (overflow + bytes.len() - kept.len()) as u64;
    }
}

impl ConsoleBuffer {
    /// An empty buffer.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(Arc::new(Shared {
            ring: Mutex::default(),
            timer,
        })))
    }

    /// Appends `bytes`, at the cost of the oldest when there is no room.
    pub fn write(&self, bytes: &[u8]) {
        let mut ring = self.ring();
        ring.push(bytes);
        if !ring.announced {
            ring.announced = true;
            self.arm_timer();
        }
    }

    /// How many bytes were lost because nobody took them in time.
    pub fn lost(&self) -> u64 {
        self.ring().lost
    }

    /// Moves up to `limit` of the oldest bytes to the end of `into` and says
    /// how many. After an answer of zero the [`timer`](Self::timer) fires
    /// once there is something again.
    pub fn take(&self, into: &mut Vec<u8>, limit: usize) -> usize {
        let mut ring = self.ring();
        let count = ring.bytes.len().min(limit);
        into.extend(ring.bytes.drain(..count));
        ring.announced = count > 0;
        count
    }

    /// The descriptor that becomes readable when there is something to take.
    pub fn timer(&self) -> RawFd {
        self.0.timer.as_raw_fd()
    }

    /// Has the timer fire for a reader that leaves off before it has taken all.
    pub(super) fn fire_again(&self) {
        self.arm_timer();
    }

    fn arm_timer(&self) {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(GATHER).expect("two milliseconds fit"),
        };
        timerfd_settime(&self.0.timer, TimerfdTimerFlags::empty(), &once)
            .expect("a timer descriptor takes any valid time");
    }

    /// Plain bytes and counts: valid even if a holder panicked.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for ConsoleBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ConsoleBuffer::write(self, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::time::timerfd_gettime;

    fn is_armed(buffer: &ConsoleBuffer) -> bool {
        timerfd_gettime(&buffer.0.timer).unwrap().it_value != Timespec::default()
    }

    fn wait_for_timer(buffer: &ConsoleBuffer) {
        let mut count = [0; 8];
        let mut fds = [rustix::event::PollFd::new(
            &buffer.0.timer,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, None).unwrap();
        assert_eq!(rustix::io::read(&buffer.0.timer, &mut count), Ok(8));
    }

    #[test]
    fn a_burst_arms_the_timer_once() {
        let buffer = ConsoleBuffer::new().unwrap();
        assert!(!is_armed(&buffer));
        buffer.write(b"a");
        wait_for_timer(&buffer);
        for _ in 0..1000 {
            buffer.write(b"b");
            assert!(!is_armed(&buffer), "the reader knows already");
        }
        let mut bytes = Vec::new();
        assert_eq!(buffer.take(&mut bytes, 10_000), 1001);
        buffer.write(b"c");
        assert!(!is_armed(&buffer), "the reader will ask again");
        assert_eq!(buffer.take(&mut bytes, 10_000), 1);
        assert_eq!(buffer.take(&mut bytes, 10_000), 0);
        buffer.write(b"d");
        wait_for_timer(&buffer);
    }

    #[test]
    fn a_full_buffer_loses_the_oldest_bytes_and_counts_them() {
        let buffer = ConsoleBuffer::new().unwrap();
        buffer.write(b"old");
        buffer.write(&vec![b'x'; CAPACITY - 1]);
        assert_eq!(buffer.lost(), 2);
        let mut bytes = Vec::new();
        assert_eq!(buffer.take(&mut bytes, usize::MAX), CAPACITY);
        assert_eq!(&bytes[..2], b"dx");
    }

    proptest! {
        #[test]
        fn what_is_taken_is_the_end_of_what_was_written(
            writes in proptest::collection::vec(0usize..90_000, 0..6)
        ) {
            let buffer = ConsoleBuffer::new().unwrap();
            let mut written = Vec::new();
            for len in writes {
                let from = written.len();
                written.extend((from..from + len).map(|at| u8::try_from(at % 256).unwrap()));
                buffer.write(&written[from..]);
            }
            let mut taken = Vec::new();
            buffer.take(&mut taken, usize::MAX);
            prop_assert!(written.ends_with(&taken));
            prop_assert_eq!(taken.len(), written.len().min(CAPACITY));
            prop_assert_eq!(buffer.lost(), (written.len() - taken.len()) as u64);
        }
    }
}
