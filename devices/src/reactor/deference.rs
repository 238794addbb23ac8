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
//! Nothing tells in advance which guest it is, nor whether others want the CPU
//! who do not let go of it as a vCPU does that falls idle. So it is tried: now and
//! then the thread defers for one wake. If that brought several requests it stays
//! so, for as long as it gets more of them done in the same time than before; if
//! not, it is tried again later, and later. Linux calls a thread that wakes up and
//! does not preempt `SCHED_BATCH` (sched(7)); its share of the CPU is the same. On
//! a CPU of its own it runs as soon as before.

use std::io;

use crate::clock::Nanos;

/// Requests of a first wake that are worth going on with.
const WORTH: u32 = 2;

/// Wakes after which it is looked at again whether deferring is worth it.
const SPAN: u32 = 8;

/// Wakes before it is tried, at first, and at most. A trial in vain costs its
/// request a time slice, where the vCPU never idles.
const FIRST_TRIAL: u32 = 64;
const LAST_TRIAL: u32 = 2048;

/// What an I/O thread has seen of its guest.
#[derive(Debug)]
pub(super) struct Deference {
    state: State,
    /// Since this was entered, or last looked at.
    since: Nanos,
    /// Wakes with requests since then, and their requests.
    wakes: u32,
    requests: u32,
    /// Wakes until the next trial.
    interval: u32,
    /// How fast the thread was when it did not defer.
    prompt: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The thread runs as soon as it is woken.
    Prompt,
    /// It waits for its turn, to see what that brings.
    Trial,
    /// It waits for its turn, which has proved worth it.
    Deferring,
}

/// Requests in a time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    requests: u32,
    time: Nanos,
}

impl Rate {
    /// Whether this is faster than `other`, by more than chance.
    fn beats(self, other: Self) -> bool {
        let ours = u128::from(self.requests) * u128::from(other.time);
        let theirs = u128::from(other.requests) * u128::from(self.time);
        ours * 16 > theirs * 17
    }
}

impl Deference {
    pub(super) fn new(now: Nanos) -> Self {
        Self {
            state: State::Prompt,
            since: now,
            wakes: 0,
            requests: 0,
            interval: FIRST_TRIAL,
            prompt: Rate {
                requests: 0,
                time: 1,
            },
        }
    }

    /// Takes in that a wake brought `requests`, which is over `now`. Returns
    /// whether the thread is to defer from now on, if that is other than before.
    pub(super) fn woken(&mut self, requests: u32, now: impl FnOnce() -> Nanos) -> Option<bool> {
        if requests == 0 {
            return None;
        }
        self.wakes += 1;
        self.requests = self.requests.saturating_add(requests);
        match self.state {
            State::Prompt if self.wakes < self.interval => None,
            State::Prompt => {
                let now = now();
                self.prompt = self.rate(now);
                self.enter(State::Trial, now)
            }
            State::Trial if self.requests < WORTH => {
                self.interval = LAST_TRIAL.min(self.interval * 2);
                self.enter(State::Prompt, now())
            }
            State::Trial | State::Deferring if self.wakes < SPAN => None,
            before => {
                let now = now();
                if self.rate(now).beats(self.prompt) {
                    self.interval = FIRST_TRIAL;
                    return self.enter(State::Deferring, now);
                }
                if before == State::Trial {
                    self.interval = LAST_TRIAL.min(self.interval * 2);
                }
                self.enter(State::Prompt, now)
            }
        }
    }

    fn rate(&self, now: Nanos) -> Rate {
        Rate {
            requests: self.requests,
            time: now.saturating_sub(self.since).max(1),
        }
    }

    fn enter(&mut self, state: State, now: Nanos) -> Option<bool> {
        let defers = |state| state != State::Prompt;
        let before = std::mem::replace(&mut self.state, state);
        (self.since, self.wakes, self.requests) = (now, 0, 0);
        (defers(before) != defers(state)).then_some(defers(state))
    }
}

/// Has the calling thread defer to whoever runs where it is woken, or not. One
/// that somebody gave another policy, such as a real-time one beside vCPUs that
/// have it, keeps that.
///
/// # Errors
/// The kernel refuses: the thread goes on as it was.
#[allow(unsafe_code)] // No crate in use wraps these system calls.
pub(super) fn defer(yes: bool) -> io::Result<()> {
    let (before, policy) = match yes {
        true => (libc::SCHED_OTHER, libc::SCHED_BATCH),
        false => (libc::SCHED_BATCH, libc::SCHED_OTHER),
    };
    // SAFETY: it has no effect. 0 is the calling thread.
    if unsafe { libc::sched_getscheduler(0) } != before {
        return Ok(());
    }
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

    /// A guest with so many requests in flight, on a CPU that others want, too,
    /// or not.
    #[derive(Clone, Copy)]
    struct Load {
        depth: u32,
        others: bool,
    }

    impl Load {
        /// What a wake brings, and takes, as they were measured; others let go of
        /// the CPU after a time slice of 4 ms.
        fn wake(self, defers: bool) -> (u32, Nanos) {
            match (defers, self.others) {
                (false, _) => (1, 47_800),
                (true, false) => (self.depth, 37_900 + 22_200 * Nanos::from(self.depth)),
                (true, true) => (self.depth, 4_000_000),
            }
        }
    }

    struct Thread {
        deference: Deference,
        now: Nanos,
        defers: bool,
    }

    impl Thread {
        fn new() -> Self {
            Self {
                deference: Deference::new(0),
                now: 0,
                defers: false,
            }
        }

        /// Is woken `count` times. Returns how often it deferred.
        fn work(&mut self, load: Load, count: u32) -> u32 {
            let mut deferred = 0;
            for _ in 0..count {
                deferred += u32::from(self.defers);
                let (requests, time) = load.wake(self.defers);
                self.now += time;
                let now = self.now;
                let change = self.deference.woken(requests, || now);
                self.defers = change.unwrap_or(self.defers);
            }
            deferred
        }
    }

    const fn alone(depth: u32) -> Load {
        let others = false;
        Load { depth, others }
    }

    #[test]
    fn a_guest_with_one_request_at_a_time_is_answered_at_once() {
        let trials = Thread::new().work(alone(1), 100_000);
        assert!((10..=60).contains(&trials), "{trials} of 100000 wakes");
    }

    #[test]
    fn a_guest_with_many_requests_is_left_alone_soon() {
        for depth in [2, 4, 32] {
            let deferred = Thread::new().work(alone(depth), 10_000);
            assert_eq!(deferred, 10_000 - FIRST_TRIAL);
        }
    }

    #[test]
    fn a_guest_may_change() {
        let mut thread = Thread::new();
        thread.work(alone(1), 100_000);
        let late = 10_000 - thread.work(alone(8), 10_000);
        assert!(late <= LAST_TRIAL, "{late} wakes until it was noticed");
        let still = thread.work(alone(1), 10_000);
        assert!(still <= 2 * SPAN + 12, "{still} wakes deferred in vain");
    }

    #[test]
    fn nobody_waits_for_others_who_do_not_let_go_of_the_cpu() {
        let others = Load {
            depth: 32,
            others: true,
        };
        let mut thread = Thread::new();
        thread.work(alone(32), 10_000);
        assert!(thread.defers);
        let deferred = thread.work(others, 100_000);
        assert!(deferred <= 600, "{deferred} of 100000 wakes");
        thread.work(alone(32), 3 * LAST_TRIAL);
        assert!(thread.defers);
    }

    #[test]
    fn wakes_without_requests_do_not_count() {
        let mut deference = Deference::new(0);
        for _ in 0..10_000 {
            assert_eq!(deference.woken(0, || panic!("it is not looked at")), None);
        }
        assert_eq!(deference.wakes, 0);
    }

    /// The calling thread's.
    fn policy() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // proc_pid_stat(5): policy is the 41st field, state the third.
        fields
            .split(' ')
            .nth(41 - 3)
            .unwrap()
            .parse::<i32>()
            .unwrap()
    }

    #[test]
    fn the_kernel_is_told() {
        defer(true).unwrap();
        assert_eq!(policy(), libc::SCHED_BATCH);
        defer(false).unwrap();
        assert_eq!(policy(), libc::SCHED_OTHER);
    }

    #[test]
    #[allow(unsafe_code)]
    fn a_policy_that_somebody_chose_stays() {
        let chosen = || {
            let parameter = libc::sched_param { sched_priority: 0 };
            // SAFETY: as in `defer`. Anybody may have this one.
            unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) };
            [true, false].map(|yes| {
                defer(yes).unwrap();
                policy()
            })
        };
        let policies = std::thread::spawn(chosen).join().unwrap();
        assert_eq!(policies, [libc::SCHED_IDLE; 2]);
    }
}
