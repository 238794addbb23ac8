//! A watchdog: a guest that no longer has it count anew is reset.
//!
//! The guest finds four registers of four bytes by its WDAT table: whether the
//! watchdog runs, the seconds it counts down from, the seconds left (a write
//! counts down anew), and whether it ended the machine's last run. A timer on
//! a reactor sends [`MachineRequest::Watchdog`] when nothing is left, once.
//!
//! Time that a machine is paused does not count: whoever pauses it holds the
//! watchdog, after the vCPUs stopped. The lock is a leaf, held for one register
//! access and at most one system call that sets the timer.

mod countdown;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::bus::BusDevice;
use crate::reactor::{Readiness, Source, Token, Worker};

use super::request::{MachineRequest, RequestSender};
use countdown::Countdown;

/// Bytes of the registers.
pub const LEN: u64 = 16;

const RUNNING: u64 = 0;
const TIMEOUT: u64 = 4;
const LEFT: u64 = 8;
const EXPIRED: u64 = 12;

struct State {
    countdown: Countdown,
    /// Goes off when nothing is left of the countdown.
    timer: OwnedFd,
}

impl State {
    /// Has the timer go off when the countdown ends, or not at all.
    fn set_timer(&self) {
        let mut time = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::default(),
        };
        if self.countdown.is_counting() {
            let left = self.countdown.left(Instant::now());
            time.it_value.tv_sec = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            // Zero would turn it off.
            time.it_value.tv_nsec = i64::from(left.subsec_nanos()).max(1);
        }
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time)
            .expect("a timer can be set to any time");
    }
}

/// A watchdog. Clones are the same one.
#[derive(Clone)]
pub struct Watchdog(Arc<Mutex<State>>);

impl Watchdog {
    /// A watchdog that does not run, and counts down from `max_seconds` at
    /// most once it does.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(max_seconds: u16) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(Arc::new(Mutex::new(State {
            countdown: Countdown::new(max_seconds),
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
        }))))
    }

    /// The half that ends the machine, for a reactor.
    pub fn timer(&self, requests: RequestSender) -> WatchdogTimer {
        WatchdogTimer {
            watchdog: self.clone(),
            requests,
        }
    }

    /// Stops time for a machine that is paused.
    pub fn hold(&self) {
        self.change(|countdown, now| countdown.hold(now));
    }

    /// Has time go on.
    pub fn release(&self) {
        self.change(|countdown, now| countdown.release(now));
    }

    /// Whether the guest started it, and time goes on.
    pub fn is_counting(&self) -> bool {
        self.lock().countdown.is_counting()
    }

    /// Stops it as a reset of the machine does. That it ended the run before is
    /// remembered, for the guest to ask.
    pub fn reset(&self) {
        self.change(|countdown, _| countdown.stop());
    }

    fn change(&self, change: impl FnOnce(&mut Countdown, Instant)) {
        let mut state = self.lock();
        change(&mut state.countdown, Instant::now());
        state.set_timer();
    }

    /// Plain values, valid whoever panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BusDevice for Watchdog {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let Ok(data) = <&mut [u8; 4]>::try_from(data) else {
            return;
        };
        let state = self.lock();
        let countdown = &state.countdown;
        let value = match offset {
            RUNNING => countdown.is_running().into(),
            TIMEOUT => countdown.seconds().into(),
            // Part of a second is one.
            LEFT => countdown
                .left(Instant::now())
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u32::MAX),
            EXPIRED => countdown.has_expired().into(),
            _ => 0,
        };
        *data = value.to_le_bytes();
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let Ok(value) = data.try_into().map(u32::from_le_bytes) else {
            return;
        };
        match (offset, value) {
            (RUNNING, 0) => self.change(|countdown, _| countdown.stop()),
            (RUNNING, _) => self.change(Countdown::start),
            (TIMEOUT, seconds) => self.lock().countdown.set_seconds(seconds),
            (LEFT, _) => self.change(Countdown::restart),
            (EXPIRED, 0) => self.lock().countdown.forget(),
            _ => {}
        }
    }
}

/// The half of a [`Watchdog`] that ends the machine.
pub struct WatchdogTimer {
    watchdog: Watchdog,
    requests: RequestSender,
}

impl Worker for WatchdogTimer {
    fn sources(&self) -> Vec<Source> {
        vec![Source {
            fd: self.watchdog.lock().timer.as_raw_fd(),
            readiness: Readiness::Readable,
            token: 0,
        }]
    }

    /// The timer went off; the guest may have counted down anew since.
    fn ready(&mut self, _token: Token) {
        if self.watchdog.lock().countdown.expire(Instant::now()) {
            self.requests.send(MachineRequest::Watchdog);
        }
    }

    fn drain(&mut self, _deadline: Instant) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::time::timerfd_gettime;

    use super::*;
    use crate::platform::request::request_channel;
    use crate::reactor::Reactor;

    fn read(watchdog: &mut Watchdog, offset: u64) -> u32 {
        let mut data = [0xaa; 4];
        watchdog.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn write(watchdog: &mut Watchdog, offset: u64, value: u32) {
        watchdog.write(offset, &value.to_le_bytes());
    }

    fn is_armed(watchdog: &Watchdog) -> bool {
        let time = timerfd_gettime(&watchdog.lock().timer).unwrap().it_value;
        (time.tv_sec, time.tv_nsec) != (0, 0)
    }

    #[test]
    fn a_guest_starts_and_stops_it() {
        let mut watchdog = Watchdog::new(3600).unwrap();
        assert_eq!(read(&mut watchdog, RUNNING), 0);
        write(&mut watchdog, TIMEOUT, 1000);
        assert!(!is_armed(&watchdog));
        write(&mut watchdog, RUNNING, 1);
        assert_eq!(
            (read(&mut watchdog, RUNNING), is_armed(&watchdog)),
            (1, true)
        );
        assert!((1..=1000).contains(&read(&mut watchdog, LEFT)));
        write(&mut watchdog, RUNNING, 0);
        assert_eq!(
            (read(&mut watchdog, RUNNING), is_armed(&watchdog)),
            (0, false)
        );
        write(&mut watchdog, LEFT, 1);
        assert!(!is_armed(&watchdog));
    }

    #[test]
    fn while_it_is_held_no_timer_runs() {
        let mut watchdog = Watchdog::new(3600).unwrap();
        write(&mut watchdog, RUNNING, 1);
        watchdog.hold();
        assert_eq!(
            (read(&mut watchdog, RUNNING), is_armed(&watchdog)),
            (1, false)
        );
        watchdog.release();
        assert!(is_armed(&watchdog));
        watchdog.reset();
        assert_eq!(
            (read(&mut watchdog, RUNNING), is_armed(&watchdog)),
            (0, false)
        );
        watchdog.release();
        assert!(!is_armed(&watchdog));
    }

    #[test]
    fn a_guest_that_stops_counting_is_ended_once() {
        let (requests, received) = request_channel();
        let mut watchdog = Watchdog::new(3600).unwrap();
        let mut timer = watchdog.timer(requests);
        write(&mut watchdog, RUNNING, 1);
        timer.ready(0);
        assert!(received.try_recv().is_err(), "not yet");
        let reactor = Reactor::spawn("test").unwrap();
        let _timer = reactor.handle().attach(timer).unwrap();
        // As if it had been started long ago.
        watchdog.change(|countdown, now| countdown.start(now - Duration::from_secs(3600)));
        assert_eq!(received.recv(), Ok(MachineRequest::Watchdog));
        assert_eq!(
            (read(&mut watchdog, RUNNING), read(&mut watchdog, EXPIRED)),
            (0, 1)
        );
        write(&mut watchdog, EXPIRED, 0);
        assert_eq!(read(&mut watchdog, EXPIRED), 0);
        assert!(received.try_recv().is_err());
    }
}
