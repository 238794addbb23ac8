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
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_manager::{
    EventManager, EventOps, EventSet, Events, MutEventSubscriber, RemoteEndpoint, SubscriberId,
};

use crate::thread;

pub mod threads;

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

/// The half of a device that runs on a reactor.
pub trait Worker: Any + Send {
    /// The descriptors to watch, asked for once, when the worker is attached.
    /// One that is ready already wakes the worker at once.
    fn sources(&self) -> Vec<Source>;

    /// A descriptor changed. Handles what there is to do without blocking.
    fn ready(&mut self, token: Token);

    /// Finishes or abandons what is in flight. Called once, just before the
    /// worker is moved back; no `ready` follows.
    ///
    /// Returns whether everything was finished by `deadline`.
    fn drain(&mut self, deadline: Instant) -> bool;
}

/// Why a worker could not be attached or got back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReactorError {
    /// The reactor's thread has ended.
    #[error("the I/O thread has ended")]
    Gone,
    /// Requests in flight did not finish in time; the worker was abandoned,
    /// with the memory and descriptors that they use.
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
        let handle = ReactorHandle(manager.remote_endpoint());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::builder(name).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                if let Err(error) = manager.run() {
                    log::error!("the I/O thread ends: {error}");
                    break;
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
        let _ = self.handle.0.kick();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Attaches workers to a reactor. Never used from the reactor's own thread.
#[derive(Clone)]
pub struct ReactorHandle(RemoteEndpoint<Slot>);

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
            unwatched: None,
        };
        // What is sent to a reactor that ends is lost: send where it lies.
        let parcel = Arc::new(Mutex::new(Some(slot)));
        let sent = Arc::clone(&parcel);
        let attached = self.0.call_blocking(move |ops| {
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
    /// is then abandoned together with all that it holds, because a request
    /// that the kernel still works on may write to its buffers.
    pub fn detach(self, patience: Duration) -> Result<W, ReactorError> {
        let id = self.id;
        let slot = self.reactor.0.call_blocking(move |ops| {
            let mut slot = ops.remove_subscriber(id)?;
            if !slot.worker.drain(Instant::now() + patience) {
                std::mem::forget(slot);
                return Err(ReactorError::Stuck);
            }
            Ok(slot)
        })?;
        Ok(slot.into_worker())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;
    use vmm_sys_util::eventfd::EventFd;

    struct Counter {
        kick: Arc<EventFd>,
        woken: mpsc::Sender<Token>,
        drains: bool,
    }

    impl Worker for Counter {
        fn sources(&self) -> Vec<Source> {
            vec![Source {
                fd: self.kick.as_raw_fd(),
                readiness: Readiness::Readable,
                token: 7,
            }]
        }
        fn ready(&mut self, token: Token) {
            self.woken.send(token).unwrap();
        }
        fn drain(&mut self, _: Instant) -> bool {
            self.drains
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A worker that waits for something that cannot be waited for.
    struct Deaf {
        fds: Vec<RawFd>,
        _kick: Arc<EventFd>,
    }

    impl Worker for Deaf {
        fn sources(&self) -> Vec<Source> {
            let sources = self.fds.iter().map(|fd| Source {
                fd: *fd,
                readiness: Readiness::Readable,
                token: 0,
            });
            sources.collect()
        }
        fn ready(&mut self, _: Token) {}
        fn drain(&mut self, _: Instant) -> bool {
            true
        }
    }

    #[test]
    fn a_worker_that_would_never_be_woken_is_refused() {
        let reactor = Reactor::spawn("test").unwrap();
        let file = tempfile::tempfile().unwrap();
        let kick = Arc::new(EventFd::new(0).unwrap());
        for fds in [
            // A regular file; the same twice; one that is not open.
            vec![kick.as_raw_fd(), file.as_raw_fd()],
            vec![kick.as_raw_fd(), kick.as_raw_fd()],
            vec![kick.as_raw_fd(), i32::MAX],
        ] {
            let _kick = Arc::clone(&kick);
            let worker = Deaf {
                fds: fds.clone(),
                _kick,
            };
            let Err(refused) = reactor.handle().attach(worker) else {
                panic!("{fds:?} are watched");
            };
            assert!(matches!(refused.reason, ReactorError::Os(_)));
            assert_eq!(refused.worker.fds, fds, "the worker comes back");
        }
        // Nothing of them is left to be woken.
        kick.write(1).unwrap();
        let fds = vec![kick.as_raw_fd()];
        let attached = reactor.handle().attach(Deaf { fds, _kick: kick });
        attached.unwrap().detach(PATIENCE).unwrap();
    }

    #[test]
    fn workers_come_and_go_while_their_descriptors_are_signalled() {
        let reactor = Reactor::spawn("test").unwrap();
        let (worker, kick, wakes) = counter(true);
        let stop = Arc::new(AtomicBool::new(false));
        let signals = {
            let (kick, stop) = (Arc::clone(&kick), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    kick.write(1).unwrap();
                    std::thread::yield_now();
                }
            })
        };
        let mut worker = worker;
        for _ in 0..200 {
            let attached = reactor.handle().attach(worker).unwrap();
            assert_eq!(wakes.recv_timeout(PATIENCE), Ok(7));
            worker = attached.detach(PATIENCE).unwrap();
            while wakes.try_recv().is_ok() {}
        }
        stop.store(true, Ordering::Release);
        signals.join().unwrap();
        assert!(wakes.try_recv().is_err(), "detached for good");
    }

    fn counter(drains: bool) -> (Counter, Arc<EventFd>, mpsc::Receiver<Token>) {
        let kick = Arc::new(EventFd::new(0).unwrap());
        let (woken, wakes) = mpsc::channel();
        let worker = Counter {
            kick: Arc::clone(&kick),
            woken,
            drains,
        };
        (worker, kick, wakes)
    }

    #[test]
    fn a_worker_is_woken_for_each_signal_though_it_never_reads_the_eventfd() {
        let reactor = Reactor::spawn("test").unwrap();
        let (worker, kick, wakes) = counter(true);
        let attached = reactor.handle().attach(worker).unwrap();
        for _ in 0..3 {
            kick.write(1).unwrap();
            assert_eq!(wakes.recv_timeout(PATIENCE), Ok(7));
        }
        attached.detach(PATIENCE).unwrap();
    }

    #[test]
    fn a_signal_sent_before_attaching_is_seen() {
        let reactor = Reactor::spawn("test").unwrap();
        let (worker, kick, wakes) = counter(true);
        kick.write(1).unwrap();
        let _attached = reactor.handle().attach(worker).unwrap();
        assert_eq!(wakes.recv_timeout(PATIENCE), Ok(7));
    }

    #[test]
    fn a_detached_worker_comes_back_and_is_not_woken_any_more() {
        let reactor = Reactor::spawn("test").unwrap();
        let (worker, kick, wakes) = counter(true);
        let attached = reactor.handle().attach(worker).unwrap();
        let worker = attached.detach(PATIENCE).unwrap();
        kick.write(1).unwrap();
        // Another round trip through the reactor: it has seen the signal, if
        // it was going to.
        let (other, _kick, _wakes) = counter(true);
        reactor.handle().attach(other).unwrap();
        assert!(wakes.try_recv().is_err());
        drop(worker);
    }

    #[test]
    fn a_worker_that_cannot_finish_is_reported() {
        let reactor = Reactor::spawn("test").unwrap();
        let (worker, _kick, _wakes) = counter(false);
        let attached = reactor.handle().attach(worker).unwrap();
        assert!(matches!(
            attached.detach(PATIENCE),
            Err(ReactorError::Stuck)
        ));
    }

    #[test]
    fn a_dropped_reactor_drops_its_workers_and_refuses_new_ones() {
        let reactor = Reactor::spawn("test").unwrap();
        let handle = reactor.handle();
        let (worker, _kick, wakes) = counter(true);
        let _attached = handle.attach(worker).unwrap();
        drop(reactor);
        assert!(wakes.recv_timeout(PATIENCE).is_err(), "the sender is gone");
        let (worker, kick, _wakes) = counter(true);
        let Err(refused) = handle.attach(worker) else {
            panic!("a worker is attached to nothing");
        };
        assert!(matches!(refused.reason, ReactorError::Gone));
        assert_eq!(refused.worker.kick.as_raw_fd(), kick.as_raw_fd());
    }
}
