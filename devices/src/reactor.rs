//! A reactor: one thread that waits for descriptors and runs the workers they
//! wake.
//!
//! A [`Worker`] is the half of a device that does the work: it is moved into
//! the reactor when it starts and moved back when it stops, so nobody shares
//! it and it takes no lock. Descriptors are watched edge-triggered: a worker
//! is woken once for each change, need not read its eventfds, and must itself
//! remember what it left unfinished. It must never wait for a vCPU, since a
//! vCPU may be waiting for it to stop.
//!
//! This is the only file that names the event-manager crate. Its rule that a
//! registered descriptor must not be closed nor have a live duplicate is kept
//! by [`Attached::detach`], the only way to get a worker back.

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_manager::{
    EventManager, EventOps, EventSet, Events, MutEventSubscriber, RemoteEndpoint, SubscriberId,
};

use crate::clock;
use crate::thread;

use deference::Deference;

mod deference;
pub mod threads;

/// How long a worker that is lost sleeps at a time, unless it finishes.
const STUCK_PATIENCE: Duration = Duration::from_secs(3600);
/// How long at least from one time to the next.
const STUCK_PAUSE: Duration = Duration::from_secs(1);

/// Which of its descriptors woke a worker; the worker chooses the numbers.
pub type Token = u32;

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The descriptor became readable, or its other end hung up.
    Readable,
    /// The descriptor became writable, or its other end hung up.
    Writable,
}

/// A descriptor that a worker wants to be woken for.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Open for as long as the worker is attached.
    pub fd: RawFd,
    /// What to wait for.
    pub readiness: Readiness,
    /// Handed to [`Worker::ready`].
    pub token: Token,
}

impl Source {
    /// Waits for `fd` to become readable.
    pub fn readable(fd: RawFd, token: Token) -> Self {
        Self {
            fd,
            readiness: Readiness::Readable,
            token,
        }
    }
}

/// The half of a device that runs on a reactor.
pub trait Worker: Any + Send {
    /// The descriptors to watch, asked for once, when the worker is attached.
    /// One that is ready already wakes the worker at once.
    fn sources(&self) -> Vec<Source>;

    /// A descriptor changed. Handles what there is to do without blocking.
    fn ready(&mut self, token: Token);

    /// Requests of its guest that it took on since it was last asked; asked
    /// after each wake. Left out by a worker that has few.
    fn taken(&mut self) -> u32 {
        0
    }

    /// Finishes or abandons what is in flight. Called once, just before the
    /// worker is moved back; no `ready` follows.
    ///
    /// Returns whether everything was finished by `deadline`. Left out by a
    /// worker that never has anything in flight.
    fn drain(&mut self, _deadline: Instant) -> bool {
        true
    }

    /// What was in flight has finished after all, too late for whoever wanted
    /// the worker back: it is dropped next.
    fn outlived(&mut self) {}
}

/// Why a worker could not be attached or got back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReactorError {
    /// The reactor's thread has ended.
    #[error("the I/O thread has ended")]
    Gone,
    /// Requests in flight did not finish in time; the worker is lost, and is
    /// dropped when they have, with the memory and descriptors that they use.
    #[error("requests in flight did not finish in time")]
    Stuck,
    /// The operating system refused.
    #[error("the I/O thread cannot be set up: {0}")]
    Os(String),
}

impl From<event_manager::Error> for ReactorError {
    fn from(error: event_manager::Error) -> Self {
        match error {
            event_manager::Error::ChannelSend | event_manager::Error::ChannelRecv => Self::Gone,
            other => Self::Os(other.to_string()),
        }
    }
}

/// A worker that was not attached, given back to be attached another time.
pub struct Refused<W> {
    /// Why not.
    pub reason: ReactorError,
    /// The worker as it was; no `ready` was called.
    pub worker: W,
}

impl<W> fmt::Debug for Refused<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.reason)
    }
}

impl<W> From<Refused<W>> for ReactorError {
    fn from(refused: Refused<W>) -> Self {
        refused.reason
    }
}

/// What the event manager holds: a worker, erased.
struct Slot {
    worker: Box<dyn Worker>,
    /// Where its reactor counts requests.
    taken: Arc<AtomicU32>,
    /// Why one of its descriptors is not watched.
    unwatched: Option<ReactorError>,
}

impl Slot {
    /// The worker as what it was attached as.
    fn into_worker<W: Worker>(self) -> W {
        let worker: Box<dyn Any> = self.worker;
        let worker = worker.downcast::<W>();
        *worker.expect("a slot holds the type it was attached with")
    }
}

impl MutEventSubscriber for Slot {
    fn process(&mut self, events: Events, _: &mut EventOps) {
        self.worker.ready(events.data());
        self.taken.fetch_add(self.worker.taken(), Ordering::Relaxed);
    }

    fn init(&mut self, ops: &mut EventOps) {
        for source in self.worker.sources() {
            let set = match source.readiness {
                Readiness::Readable => EventSet::IN | EventSet::READ_HANG_UP,
                Readiness::Writable => EventSet::OUT,
            };
            let events =
                Events::with_data_raw(source.fd, source.token, set | EventSet::EDGE_TRIGGERED);
            if let Err(error) = ops.add(events) {
                self.unwatched = Some(error.into());
            }
        }
    }
}

/// A thread that runs workers. Dropping it ends the thread and drops the
/// workers that are still attached.
pub struct Reactor {
    handle: ReactorHandle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reactor {
    /// Starts a reactor's thread, named `name` (15 characters at most show).
    ///
    /// # Errors
    /// No descriptor or no thread is to be had.
    pub fn spawn(name: &str) -> io::Result<Self> {
        let mut manager = EventManager::<Slot>::new().map_err(io::Error::other)?;
        let handle = ReactorHandle {
            endpoint: manager.remote_endpoint(),
            taken: Arc::default(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, taken) = (Arc::clone(&stop), Arc::clone(&handle.taken));
        let thread = thread::builder(name).spawn(move || {
            let mut deference = Deference::new(clock::now());
            while !stopped.load(Ordering::Acquire) {
                if let Err(error) = manager.run() {
                    log::error!("the I/O thread ends: {error}");
                    break;
                }
                if let Some(defers) = deference.woken(taken.swap(0, Ordering::Relaxed), clock::now)
                {
                    // Without it the guest is only slower.
                    let _ = deference::defer(defers);
                }
            }
        })?;
        Ok(Self {
            handle,
            stop,
            thread: Some(thread),
        })
    }

    /// A handle with which devices attach their workers.
    pub fn handle(&self) -> ReactorHandle {
        self.handle.clone()
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The thread may have ended already; then there is nobody to wake.
        let _ = self.handle.endpoint.kick();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Attaches workers to a reactor. Never used from the reactor's own thread.
#[derive(Clone)]
pub struct ReactorHandle {
    endpoint: RemoteEndpoint<Slot>,
    taken: Arc<AtomicU32>,
}

impl ReactorHandle {
    /// Moves `worker` into the reactor.
    ///
    /// # Errors
    /// The reactor has ended, or a descriptor cannot be waited for: it is a
    /// regular file, not open, or named by another source already. The worker
    /// comes back, because attached it would wait for ever.
    pub fn attach<W: Worker>(&self, worker: W) -> Result<Attached<W>, Refused<W>> {
        let slot = Slot {
            worker: Box::new(worker),
            taken: Arc::clone(&self.taken),
            unwatched: None,
        };
        // What is sent to a reactor that ends is lost: send where it lies.
        let parcel = Arc::new(Mutex::new(Some(slot)));
        let sent = Arc::clone(&parcel);
        let attached = self.endpoint.call_blocking(move |ops| {
            let mut parcel = sent.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = parcel.take().expect("a parcel is opened once");
            let id = ops.add_subscriber(slot);
            match ops.subscriber_mut(id)?.unwatched.take() {
                None => Ok(id),
                Some(reason) => {
                    *parcel = Some(ops.remove_subscriber(id)?);
                    Err(reason)
                }
            }
        });
        match attached {
            Ok(id) => Ok(Attached {
                reactor: self.clone(),
                id,
                worker: PhantomData,
            }),
            Err(reason) => {
                let mut parcel = parcel.lock().unwrap_or_else(PoisonError::into_inner);
                let slot = parcel.take().expect("nobody has kept the worker");
                let worker = slot.into_worker();
                Err(Refused { reason, worker })
            }
        }
    }
}

/// A worker that runs on a reactor. Dropping this leaves it running until the
/// reactor ends.
pub struct Attached<W> {
    reactor: ReactorHandle,
    id: SubscriberId,
    worker: PhantomData<fn() -> W>,
}

impl<W: Worker> Attached<W> {
    /// Drains the worker, waiting `patience` at most, and moves it back.
    ///
    /// # Errors
    /// The reactor has ended, or what is in flight did not finish: the worker
    /// then lives on by itself with all that it holds until it has, because a
    /// request that the kernel still works on may write to its buffers.
    pub fn detach(self, patience: Duration) -> Result<W, ReactorError> {
        let id = self.id;
        let slot = self.reactor.endpoint.call_blocking(move |ops| {
            let mut slot = ops.remove_subscriber(id)?;
            if !slot.worker.drain(Instant::now() + patience) {
                outlive(slot.worker);
                return Err(ReactorError::Stuck);
            }
            Ok(slot)
        })?;
        Ok(slot.into_worker())
    }
}

/// Keeps a worker until what it has in flight is finished, on a thread that
/// sleeps meanwhile, and then drops it.
fn outlive(worker: Box<dyn Worker>) {
    let mut worker = ManuallyDrop::new(worker);
    let started = thread::builder("stuck-worker").spawn(move || {
        while !worker.drain(Instant::now() + STUCK_PATIENCE) {
            // Whoever gives up at once is not to be asked all the time.
            std::thread::sleep(STUCK_PAUSE);
        }
        worker.outlived();
        drop(ManuallyDrop::into_inner(worker));
    });
    // Without a thread it is never dropped, which is as safe.
    if let Err(error) = started {
        log::error!("a worker with requests in flight is kept for ever: {error}");
    }
}

#[cfg(test)]
mod tests;
