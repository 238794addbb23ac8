//! The clock that durations are measured with and that workers are woken by.
//!
//! Reading it costs about 20 ns where the kernel lends its clock to processes
//! (vDSO), a system call elsewhere. An `AlarmClock` is what a wrapper that
//! holds something back goes by; tests give it a fake one, and so decide
//! what time it is.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// A point in time: nanoseconds of `CLOCK_MONOTONIC`, which last 584 years.
pub type Nanos = u64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

/// The time now.
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).expect("the monotonic clock is never negative");
    part(time.tv_sec) * SECOND + part(time.tv_nsec)
}

/// A clock that wakes a worker at a time of its choice.
pub(crate) trait AlarmClock: Send {
    /// The time now.
    fn now(&self) -> Nanos;

    /// Rings at `at` and at no other time; at once, if that has passed.
    fn set(&mut self, at: Nanos);

    /// Becomes readable when it rings, each time anew for a reactor, which
    /// watches edges. Nobody needs to read it.
    fn fd(&self) -> RawFd;
}

/// The kernel's clock: a timerfd, exact to the nanosecond as far as the
/// hardware is, and to the host's scheduling from there on.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }
}

impl AlarmClock for Timer {
    fn now(&self) -> Nanos {
        now()
    }

    fn set(&mut self, at: Nanos) {
        // Even if it is set to the same time: it may have rung, and the clock
        // of this CPU be a little behind.
        let part = |value: Nanos| i64::try_from(value).unwrap_or(i64::MAX);
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: part(at / SECOND),
                // All zeroes would mean never.
                tv_nsec: part(at % SECOND).max(1),
            },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &spec)
            .expect("a timer takes any time that is not negative");
    }

    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A clock that stands still until a test moves it on.

    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use vmm_sys_util::eventfd::EventFd;

    use super::{AlarmClock, AsRawFd, Nanos, RawFd};

    /// Clones are the same clock.
    #[derive(Clone)]
    pub(crate) struct FakeClock(Arc<Shared>);

    struct Shared {
        state: Mutex<State>,
        bell: EventFd,
    }

    struct State {
        now: Nanos,
        set: Option<Nanos>,
    }

    impl FakeClock {
        pub(crate) fn new() -> Self {
            Self(Arc::new(Shared {
                state: Mutex::new(State { now: 1, set: None }),
                bell: EventFd::new(0).unwrap(),
            }))
        }

        /// Moves the time on to when it is to ring, which must be `step` from
        /// now, and rings. Waits for somebody to set it first.
        pub(crate) fn ring_after(&self, step: Duration) {
            let step = Nanos::try_from(step.as_nanos()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                let mut state = self.0.state.lock().unwrap();
                if state.set == Some(state.now + step) {
                    state.now += step;
                    state.set = None;
                    break;
                }
                let left = state.set.map(|set| set.checked_signed_diff(state.now));
                drop(state);
                assert!(
                    Instant::now() < deadline,
                    "set to {left:?} ns from now, not {step}"
                );
                std::thread::yield_now();
            }
            self.0.bell.write(1).unwrap();
        }

        /// Moves the time on to `late` after what it is set to, without
        /// ringing: for who asks without being woken.
        pub(crate) fn skip(&self, late: Nanos) {
            let mut state = self.0.state.lock().unwrap();
            let set = state.set.take().expect("somebody has set the clock");
            assert!(set > state.now, "nothing to wait for");
            state.now = set.checked_add(late).unwrap();
        }

        /// Moves the time on to a nanosecond before what it is set to.
        pub(crate) fn skip_almost(&self) {
            let mut state = self.0.state.lock().unwrap();
            state.now = state.set.expect("somebody has set the clock") - 1;
        }

        /// Moves the time on without ringing: nothing must be due.
        pub(crate) fn advance(&self, step: Duration) {
            let mut state = self.0.state.lock().unwrap();
            state.now += Nanos::try_from(step.as_nanos()).unwrap();
            assert!(state.set.is_none_or(|set| set > state.now));
        }
    }

    impl AlarmClock for FakeClock {
        fn now(&self) -> Nanos {
            self.0.state.lock().unwrap().now
        }

        fn set(&mut self, at: Nanos) {
            let mut state = self.0.state.lock().unwrap();
            state.set = Some(at);
            if at <= state.now {
                self.0.bell.write(1).unwrap();
            }
        }

        fn fd(&self) -> RawFd {
            self.0.bell.as_raw_fd()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn rings(timer: &Timer, patience: Option<&Timespec>) -> bool {
        let mut sources = [PollFd::new(&timer.0, PollFlags::IN)];
        poll(&mut sources, patience).unwrap() == 1
    }

    #[test]
    fn a_timer_rings_when_it_is_time_and_not_before() {
        let mut timer = Timer::new().unwrap();
        let at = timer.now() + SECOND / 100;
        timer.set(at);
        assert!(rings(&timer, None));
        assert!(timer.now() >= at);
        // Setting it anew silences it.
        timer.set(u64::MAX);
        assert!(!rings(&timer, Some(&Timespec::default())));
        timer.set(0);
        assert!(rings(&timer, None));
    }
}
