//! Workers that come, are woken, and go, in time or too late.

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

/// A worker that finishes when it is told to.
struct Late {
    kick: EventFd,
    finish: mpsc::Receiver<()>,
    told: mpsc::Sender<&'static str>,
}

impl Worker for Late {
    fn sources(&self) -> Vec<Source> {
        vec![Source::readable(self.kick.as_raw_fd(), 0)]
    }
    fn ready(&mut self, _: Token) {}
    fn drain(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.finish.recv_timeout(left).is_ok()
    }
    fn outlived(&mut self) {
        self.told.send("outlived").unwrap();
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.told.send("dropped").unwrap();
    }
}

#[test]
fn a_worker_that_finishes_too_late_is_dropped_then_and_not_before() {
    let reactor = Reactor::spawn("test").unwrap();
    let (finish, finished) = mpsc::channel();
    let (told, hears) = mpsc::channel();
    let worker = Late {
        kick: EventFd::new(0).unwrap(),
        finish: finished,
        told,
    };
    let attached = reactor.handle().attach(worker).unwrap();
    assert!(attached.detach(Duration::ZERO).is_err());
    drop(reactor);
    assert!(hears.try_recv().is_err());
    finish.send(()).unwrap();
    assert_eq!(hears.recv(), Ok("outlived"));
    assert_eq!(hears.recv(), Ok("dropped"));
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
