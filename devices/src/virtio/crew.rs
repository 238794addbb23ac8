//! The workers of a device that has one for each of its queues: attached
//! together, and detached together.
//!
//! Each works on a reactor of its own as far as there are reactors, so that
//! queues are served at the same time.

use std::time::Instant;

use super::device::STOP_PATIENCE;
use crate::reactor::{Attached, ReactorError, ReactorHandle, Worker};

/// Workers that run.
pub(crate) struct Crew<W>(Vec<Attached<W>>);

/// Workers of which one was not attached, and so none is.
pub(crate) struct RefusedCrew<W> {
    /// Why not.
    pub(crate) reason: ReactorError,
    /// All of them, in their order. None if one that was attached before did
    /// not come back.
    pub(crate) workers: Option<Vec<W>>,
}

impl<W: Worker> Crew<W> {
    /// Attaches `workers` to `reactors`, in turn.
    pub(crate) fn attach(
        reactors: &[ReactorHandle],
        workers: Vec<W>,
    ) -> Result<Self, RefusedCrew<W>> {
        let mut reactors = reactors.iter().cycle();
        let mut attached = Vec::with_capacity(workers.len());
        let mut workers = workers.into_iter();
        while let Some(worker) = workers.next() {
            let reactor = reactors.next().expect("a device has a reactor");
            match reactor.attach(worker) {
                Ok(one) => attached.push(one),
                Err(refused) => {
                    let before = Self(attached).detach().ok();
                    return Err(RefusedCrew {
                        reason: refused.reason,
                        workers: before.map(|mut all| {
                            all.push(refused.worker);
                            all.extend(workers);
                            all
                        }),
                    });
                }
            }
        }
        Ok(Self(attached))
    }

    /// Drains all workers and moves them back, in their order. Together they
    /// have [`STOP_PATIENCE`].
    ///
    /// # Errors
    /// One does not come back. None works any more, and the others are
    /// dropped.
    pub(crate) fn detach(self) -> Result<Vec<W>, ReactorError> {
        let deadline = Instant::now() + STOP_PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now());
        // All are asked, also behind one that is stuck.
        let detached = self.0.into_iter().map(|one| one.detach(left()));
        let detached: Vec<Result<W, ReactorError>> = detached.collect();
        detached.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::{Reactor, Readiness, Source, Token};
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};
    use std::time::Duration;
    use vmm_sys_util::eventfd::EventFd;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A worker that says on which thread it was woken.
    struct Member {
        number: usize,
        wake: Arc<EventFd>,
        watched: i32,
        woken: Sender<(usize, ThreadId)>,
        drains: bool,
    }

    impl Worker for Member {
        fn sources(&self) -> Vec<Source> {
            vec![Source {
                fd: self.watched,
                readiness: Readiness::Readable,
                token: 0,
            }]
        }
        fn ready(&mut self, _: Token) {
            self.woken
                .send((self.number, thread::current().id()))
                .unwrap();
        }
        fn drain(&mut self, _: Instant) -> bool {
            self.drains
        }
    }

    fn members(count: usize, woken: &Sender<(usize, ThreadId)>) -> Vec<Member> {
        let member = |number| {
            let wake = Arc::new(EventFd::new(0).unwrap());
            wake.write(1).unwrap();
            Member {
                number,
                watched: wake.as_raw_fd(),
                wake,
                woken: woken.clone(),
                drains: true,
            }
        };
        (0..count).map(member).collect()
    }

    fn reactors(count: usize) -> (Vec<Reactor>, Vec<ReactorHandle>) {
        let reactors: Vec<_> = (0..count)
            .map(|_| Reactor::spawn("test").unwrap())
            .collect();
        let handles = reactors.iter().map(Reactor::handle).collect();
        (reactors, handles)
    }

    #[test]
    fn workers_have_threads_of_their_own_while_there_are_some() {
        let (woken, wakes) = channel();
        let (_reactors, handles) = reactors(2);
        let Ok(crew) = Crew::attach(&handles, members(3, &woken)) else {
            panic!("the workers are refused");
        };
        let mut threads = [None; 3];
        for _ in 0..3 {
            let (number, thread) = wakes.recv_timeout(PATIENCE).unwrap();
            threads[number] = Some(thread);
        }
        assert_ne!(threads[0], threads[1]);
        assert_eq!(threads[0], threads[2]);
        let back = crew.detach().unwrap();
        assert!(back.iter().map(|member| member.number).eq(0..3));
    }

    #[test]
    fn if_one_is_refused_none_works_and_all_come_back() {
        let (woken, wakes) = channel();
        let (_reactors, handles) = reactors(2);
        let mut all = members(3, &woken);
        all[1].watched = i32::MAX;
        let Err(refused) = Crew::attach(&handles, all) else {
            panic!("what is not open is watched");
        };
        let back = refused.workers.unwrap();
        assert!(back.iter().map(|member| member.number).eq(0..3));
        while wakes.try_recv().is_ok() {}
        back[0].wake.write(1).unwrap();
        // Another round trip: the reactor has seen the signal, if it was to.
        let crew = Crew::attach(&handles[..1], members(1, &woken));
        crew.ok().unwrap().detach().unwrap();
        assert!(wakes.try_iter().all(|(number, _)| number == 0));
    }

    #[test]
    fn one_that_is_stuck_does_not_keep_the_others_working() {
        let (woken, wakes) = channel();
        let (_reactors, handles) = reactors(2);
        let mut all = members(2, &woken);
        all[0].drains = false;
        let second = Arc::clone(&all[1].wake);
        let Ok(crew) = Crew::attach(&handles, all) else {
            panic!("the workers are refused");
        };
        assert!(matches!(crew.detach(), Err(ReactorError::Stuck)));
        while wakes.try_recv().is_ok() {}
        second.write(1).unwrap();
        // Another round trip, as above.
        let crew = Crew::attach(&handles[1..], members(1, &woken));
        crew.ok().unwrap().detach().unwrap();
        assert!(wakes.try_iter().all(|(number, _)| number == 0));
    }
}
