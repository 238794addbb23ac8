//! Whether an I/O thread, when it is woken, takes the CPU from the vCPU that
//! woke it, or lets that go on.
//!
//! It matters where the two share a CPU. A guest that waits for each request
//! gets its answer soonest if the I/O thread runs at once: the vCPU does not
//! even fall idle. A guest that has many requests in flight is interrupted so
//! after each of them; left alone, it submits them all without another exit,
//! and gets them back with one interrupt. Counted in instructions of one CPU, 4
//! KiB random writes cost 47,800 each if the thread runs at once and 23,000 at
//! depth 32 if it does not, when it costs 60,100 at depth 1.
//!
//! Nothing tells in advance which guest it is, so it is tried: now and then the
//! thread defers for one wake. If that brought several requests it stays so, for
//! as long as wakes bring two on average; if not, it is tried again later, and
//! later. Linux calls a thread that wakes up and does not preempt `SCHED_BATCH`
//! (sched(7)); its share of the CPU is the same. On a CPU of its own it runs as
//! soon as before.

use std::io;

/// Requests of a wake, on average, that are worth being waited for.
const WORTH: u32 = 2;

/// Wakes after which it is looked at again whether deferring is worth it.
const SPAN: u32 = 8;

/// Wakes before it is tried, at first, and at most. A trial that was in vain
/// costs a vCPU that never idles nothing, but the request a time slice.
const FIRST_TRIAL: u32 = 64;
const LAST_TRIAL: u32 = 2048;

/// What an I/O thread has seen of its guest.
#[derive(Debug)]
pub(super) struct Deference {
    state: State,
    /// Wakes with requests in this state, and their requests.
    wakes: u32,
    requests: u32,
    /// Wakes until the next trial.
    interval: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The thread runs as soon as it is woken.
    Prompt,
    /// It waited for its turn once, to see what that brings.
    Trial,
    /// It waits for its turn.
    Deferring,
}

impl Deference {
    pub(super) fn new() -> Self {
        Self {
            state: State::Prompt,
            wakes: 0,
            requests: 0,
            interval: FIRST_TRIAL,
        }
    }

    /// Takes in that a wake brought `requests`. Returns whether the thread is to
    /// defer from now on, if that is other than before.
    pub(super) fn woken(&mut self, requests: u32) -> Option<bool> {
        if requests == 0 {
            return None;
        }
        self.wakes += 1;
        self.requests = self.requests.saturating_add(requests);
        let worthwhile = self.requests >= self.wakes * WORTH;
        match self.state {
            State::Prompt if self.wakes >= self.interval => self.enter(State::Trial),
            State::Trial if worthwhile => {
                self.interval = FIRST_TRIAL;
                self.enter(State::Deferring)
            }
            State::Trial => {
                self.interval = LAST_TRIAL.min(self.interval * 2);
                self.enter(State::Prompt)
            }
            State::Deferring if self.wakes < SPAN => None,
            State::Deferring if worthwhile => self.enter(State::Deferring),
            State::Deferring => self.enter(State::Prompt),
            State::Prompt => None,
        }
    }

    fn enter(&mut self, state: State) -> Option<bool> {
        let defers = |state| state != State::Prompt;
        let before = std::mem::replace(&mut self.state, state);
        (self.wakes, self.requests) = (0, 0);
        (defers(before) != defers(state)).then_some(defers(state))
    }
}

/// Has the calling thread defer to whoever runs where it is woken, or not.
///
/// # Errors
/// The kernel refuses: the thread goes on as it was.
#[allow(unsafe_code)] // No crate in use wraps this system call.
pub(super) fn defer(yes: bool) -> io::Result<()> {
    let policy = match yes {
        true => libc::SCHED_BATCH,
        false => libc::SCHED_OTHER,
    };
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel only reads the parameter. 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wakes of a thread whose guest has `depth` requests in flight: those that
    /// brought requests while it deferred, of `count`.
    fn deferred(deference: &mut Deference, depth: u32, count: u32) -> u32 {
        let (mut defers, mut deferred) = (deference.state != State::Prompt, 0);
        for _ in 0..count {
            let requests = if defers { depth } else { 1 };
            deferred += u32::from(defers);
            defers = deference.woken(requests).unwrap_or(defers);
        }
        deferred
    }

    #[test]
    fn a_guest_with_one_request_at_a_time_is_answered_at_once() {
        let mut deference = Deference::new();
        let trials = deferred(&mut deference, 1, 100_000);
        assert!((10..=60).contains(&trials), "{trials} of 100000 wakes");
    }

    #[test]
    fn a_guest_with_many_requests_is_left_alone_soon() {
        for depth in [2, 4, 32] {
            let mut deference = Deference::new();
            assert_eq!(
                deferred(&mut deference, depth, 10_000),
                10_000 - FIRST_TRIAL
            );
        }
    }

    #[test]
    fn a_guest_may_change() {
        let mut deference = Deference::new();
        deferred(&mut deference, 1, 100_000);
        let late = 10_000 - deferred(&mut deference, 8, 10_000);
        assert!(late <= LAST_TRIAL, "{late} wakes until it was noticed");
        let still = deferred(&mut deference, 1, 10_000);
        assert!(still <= 2 * SPAN + 12, "{still} wakes deferred in vain");
    }

    #[test]
    fn wakes_without_requests_do_not_count() {
        let mut deference = Deference::new();
        for _ in 0..10_000 {
            assert_eq!(deference.woken(0), None);
        }
        assert_eq!(deference.wakes, 0);
    }

    #[test]
    fn the_kernel_is_told() {
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            // proc_pid_stat(5): policy is the 41st field, state the third.
            fields
                .split(' ')
                .nth(41 - 3)
                .unwrap()
                .parse::<i32>()
                .unwrap()
        };
        defer(true).unwrap();
        assert_eq!(policy(), libc::SCHED_BATCH);
        defer(false).unwrap();
        assert_eq!(policy(), libc::SCHED_OTHER);
    }
}
