//! Who carries parts of operations through a [`Passage`]: the disk's own thread
//! what is small, and with a thread that helps it what is large, so that the
//! disk works on some parts while the bytes of others are worked on.
//!
//! Large parts wait in a queue, from which the helping thread takes them, and
//! the disk's own when it has nothing else to do. The former is woken when there
//! is more than one; the latter when it has asked for it, by running out of
//! parts to carry. Parts are moved between the two, never shared.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use vmm_sys_util::eventfd::EventFd;

use super::bounce::Piece;
use super::bounced_disk::Passage;
use crate::thread;
use crate::virtio::buffers::Buffers;

/// Bytes from which on a part is large: to work on them takes several times as
/// long as to wake a thread.
const LARGE: usize = 64 << 10;

/// Where a part is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the guest to the disk.
    In,
    /// From the disk to the guest.
    Out,
}

/// Bytes to be carried.
pub(super) struct Load {
    /// The lane that they take.
    pub(super) lane: usize,
    pub(super) way: Way,
    /// Where they are on the disk.
    pub(super) offset: u64,
    pub(super) len: usize,
    /// Where the guest has them: consumed on the way.
    pub(super) guest: Buffers,
    /// The memory in between.
    pub(super) piece: Piece,
}

impl Load {
    fn pass(&mut self, passage: &mut impl Passage) {
        let Self {
            way, offset, len, ..
        } = *self;
        let piece = self.piece.refill(len);
        let passed = match way {
            Way::In => passage.store(offset, len, &mut self.guest, piece),
            Way::Out => passage.load(offset, len, piece, &mut self.guest),
        };
        passed.expect("the part and the piece are of that length");
    }
}

/// Carries loads, large ones in the background.
pub(super) struct Carrier<P> {
    passage: P,
    background: Option<Background>,
}

/// A thread that carries.
struct Background {
    shared: Arc<Shared>,
    carried: Receiver<Load>,
    /// Of those, what was waited for.
    next: Option<Load>,
    /// Loads that were not collected yet.
    under_way: usize,
    thread: Option<JoinHandle<()>>,
}

/// What the two threads have in common.
struct Shared {
    queue: Mutex<Queue>,
    /// There is more for the carrying thread to do.
    more: Condvar,
    /// The disk's thread waits for loads.
    is_awaited: AtomicBool,
    ready: EventFd,
}

#[derive(Default)]
struct Queue {
    /// What nobody has begun to carry.
    loads: VecDeque<Load>,
    /// Nothing more comes.
    has_ended: bool,
}

impl<P: Passage + 'static> Carrier<P> {
    /// Carries everything at once.
    pub(super) fn new(passage: P) -> Self {
        let background = None;
        Self {
            passage,
            background,
        }
    }

    /// Has a thread of its own help with what is large, of which there are
    /// `most` loads at a time.
    ///
    /// # Errors
    /// There can be no such thread.
    pub(super) fn with_thread(passage: P, most: usize) -> io::Result<Self>
    where
        P: Clone,
    {
        let background = Some(Background::new(passage.clone(), most)?);
        Ok(Self {
            passage,
            background,
        })
    }

    /// What becomes of what is carried.
    pub(super) fn passage(&self) -> &P {
        &self.passage
    }

    /// Takes `load` where it is going. Gives it back if it is there already;
    /// else [`next_carried`](Self::next_carried) or [`help`](Self::help) does.
    pub(super) fn carry(&mut self, mut load: Load) -> Option<Load> {
        match &mut self.background {
            Some(background) if load.len >= LARGE => {
                background.put(load);
                None
            }
            _ => {
                load.pass(&mut self.passage);
                Some(load)
            }
        }
    }

    /// A load that has arrived.
    pub(super) fn next_carried(&mut self) -> Option<Load> {
        self.background.as_mut()?.next_carried()
    }

    /// Carries a load that waits for it, for who has nothing else to do. After
    /// `None`, the [waker](Self::waker) becomes readable when loads arrive.
    pub(super) fn help(&mut self) -> Option<Load> {
        let background = self.background.as_mut()?;
        let Some(mut load) = background.take() else {
            return background.last_look();
        };
        load.pass(&mut self.passage);
        Some(load)
    }

    /// Becomes readable, edge by edge, when loads have arrived.
    pub(super) fn waker(&self) -> Option<RawFd> {
        let background = self.background.as_ref()?;
        Some(background.shared.ready.as_raw_fd())
    }

    /// Waits until a load has arrived that is being carried, or `deadline`.
    pub(super) fn wait(&mut self, deadline: Instant) {
        if let Some(background) = &mut self.background {
            background.wait(deadline);
        }
    }

    /// Whether nothing is being carried, or is to be.
    pub(super) fn is_idle(&self) -> bool {
        let idle = |background: &Background| background.under_way == 0;
        self.background.as_ref().is_none_or(idle)
    }
}

impl Background {
    fn new(passage: impl Passage + 'static, most: usize) -> io::Result<Self> {
        let (arrived, carried) = sync_channel(most);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            more: Condvar::new(),
            is_awaited: AtomicBool::new(false),
            ready: EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?,
        });
        let other = Arc::clone(&shared);
        let carry = move || other.carry_all(passage, &arrived);
        let thread = thread::builder("cipher").spawn(carry)?;
        Ok(Self {
            shared,
            carried,
            next: None,
            under_way: 0,
            thread: Some(thread),
        })
    }

    /// One load is left to the disk's own thread, unless it has other things to
    /// do for so long that the carrying thread comes by.
    fn put(&mut self, load: Load) {
        self.under_way += 1;
        let mut queue = self.shared.queue();
        queue.loads.push_back(load);
        let is_more = queue.loads.len() > 1;
        drop(queue);
        if is_more {
            self.shared.more.notify_one();
        }
    }

    fn take(&mut self) -> Option<Load> {
        if self.under_way == 0 {
            return None;
        }
        let load = self.shared.queue().loads.pop_front()?;
        self.under_way -= 1;
        Some(load)
    }

    fn next_carried(&mut self) -> Option<Load> {
        if self.under_way == 0 {
            return None;
        }
        let next = self.next.take().or_else(|| self.carried.try_recv().ok())?;
        self.under_way -= 1;
        Some(next)
    }

    /// Asks to be woken for a load that has not arrived.
    fn last_look(&mut self) -> Option<Load> {
        self.shared.is_awaited.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.next_carried()
    }

    fn wait(&mut self, deadline: Instant) {
        let is_carrying = self.under_way > self.shared.queue().loads.len();
        if is_carrying && self.next.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            self.next = self.carried.recv_timeout(left).ok();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.shared.queue().has_ended = true;
        self.shared.more.notify_one();
        if let Some(thread) = self.thread.take() {
            // It cannot fail: it would have taken the process with it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The thread: carries, until nothing more comes.
    fn carry_all(&self, mut passage: impl Passage, carried: &SyncSender<Load>) {
        while let Some(mut load) = self.wait_for_load() {
            load.pass(&mut passage);
            // Nobody wants it if the disk is gone.
            if carried.send(load).is_err() {
                return;
            }
            fence(Ordering::SeqCst);
            if self.is_awaited.swap(false, Ordering::Relaxed) {
                // It fails only if nobody has looked at it 2^64 times.
                let _ = self.ready.write(1);
            }
        }
    }

    fn wait_for_load(&self) -> Option<Load> {
        let idle = |queue: &mut Queue| queue.loads.is_empty() && !queue.has_ended;
        let queue = self.more.wait_while(self.queue(), idle);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.loads.pop_front().filter(|_| !queue.has_ended)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::bounce::{PIECE, pieces};
    use crate::block::disk::{DiskInfo, Operation};
    use crate::memory::Ram;
    use crate::virtio::buffers::TooShort;
    use std::thread::ThreadId;
    use std::time::Duration;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    const COUNT: usize = 8;

    /// Tells who carries, which takes a moment.
    #[derive(Clone)]
    struct Witness(Arc<Mutex<Vec<ThreadId>>>);

    impl Witness {
        fn of(&self, thread: ThreadId) -> usize {
            let threads = self.0.lock().unwrap();
            threads.iter().filter(|one| **one == thread).count()
        }
    }

    impl Passage for Witness {
        const UNIT: u64 = 1;
        fn takes(&self, _: &Operation, _: &DiskInfo) -> bool {
            true
        }
        fn store(
            &mut self,
            _: u64,
            len: usize,
            guest: &mut Buffers,
            piece: &mut Buffers,
        ) -> Result<(), TooShort> {
            self.0.lock().unwrap().push(std::thread::current().id());
            std::thread::sleep(Duration::from_millis(1));
            piece.fill_from(guest, len)
        }
        fn load(
            &mut self,
            offset: u64,
            len: usize,
            piece: &mut Buffers,
            guest: &mut Buffers,
        ) -> Result<(), TooShort> {
            self.store(offset, len, piece, guest)
        }
    }

    fn loads(len: usize) -> Vec<Load> {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), PIECE)]).unwrap();
        let ram = Ram::new(memory);
        let lanes = pieces(COUNT).unwrap().into_iter().enumerate();
        let load = |(lane, piece)| {
            let mut guest = Buffers::new(ram.clone());
            guest.append(0, u32::try_from(len).unwrap()).unwrap();
            let way = Way::In;
            let offset = 0;
            Load {
                lane,
                way,
                offset,
                len,
                guest,
                piece,
            }
        };
        lanes.map(load).collect()
    }

    fn carrier() -> (Carrier<Witness>, Witness) {
        let witness = Witness(Arc::default());
        let carrier = Carrier::with_thread(witness.clone(), COUNT).unwrap();
        (carrier, witness)
    }

    #[test]
    fn what_is_small_is_carried_at_once() {
        let (mut carrier, witness) = carrier();
        for load in loads(LARGE - 1) {
            assert!(carrier.carry(load).is_some());
        }
        assert!(carrier.is_idle());
        assert_eq!(witness.of(std::thread::current().id()), COUNT);
    }

    #[test]
    fn two_threads_share_what_is_large() {
        let (mut carrier, witness) = carrier();
        for load in loads(LARGE) {
            assert!(carrier.carry(load).is_none());
        }
        let mut lanes = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        // The other has begun before this one helps.
        while witness.0.lock().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "nobody begins");
            std::thread::yield_now();
        }
        while !carrier.is_idle() {
            assert!(Instant::now() < deadline, "they go lost");
            match carrier.next_carried().or_else(|| carrier.help()) {
                Some(load) => lanes.push(load.lane),
                None => carrier.wait(deadline),
            }
        }
        lanes.sort_unstable();
        assert_eq!(lanes, (0..COUNT).collect::<Vec<_>>(), "each arrives once");
        let here = witness.of(std::thread::current().id());
        assert!((1..COUNT).contains(&here), "{here} of {COUNT}");
    }

    #[test]
    fn who_has_nothing_to_do_is_woken_when_a_load_arrives() {
        let (mut carrier, _) = carrier();
        for load in loads(LARGE).into_iter().take(2) {
            assert!(carrier.carry(load).is_none());
        }
        let mut arrived = 0;
        let mut next = |carrier: &mut Carrier<_>| {
            let load = carrier.next_carried().or_else(|| carrier.help());
            arrived += usize::from(load.is_some());
            load.is_some()
        };
        while next(&mut carrier) {}
        let deadline = Instant::now() + Duration::from_secs(30);
        while !carrier.is_idle() {
            let background = carrier.background.as_ref().unwrap();
            while background.shared.ready.read().is_err() {
                assert!(Instant::now() < deadline, "nobody rings");
            }
            while next(&mut carrier) {}
        }
        assert_eq!(arrived, 2);
    }

    /// The memory that they go through may then be unmapped.
    #[test]
    fn nothing_is_carried_after_its_end() {
        let (mut carrier, witness) = carrier();
        for load in loads(LARGE) {
            assert!(carrier.carry(load).is_none());
        }
        drop(carrier);
        let carried = witness.0.lock().unwrap().len();
        assert_eq!(Arc::strong_count(&witness.0), 1, "the thread has ended");
        assert!(carried < COUNT, "what had not begun is left");
    }
}
