//! The lobby: host programs that have connected and not said yet what they
//! want.
//!
//! Each keeps a connection's place in the pool, so it has [`PATIENCE`] to say
//! it. The switchboard hangs up on those that are late. There is one clock for
//! all of them, set anew only after it has rung: programs that come and go in
//! time cost no system call for it.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::time::Duration;

use super::greeting::Greeting;
use super::ports::ANY;
use super::watch::BATCH;
use crate::clock::{AlarmClock, Nanos, SECOND};

/// How long a program may take over its greeting. People type, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The lobby of one device.
pub(super) struct Lobby {
    waiting: HashMap<u32, (Greeting, Nanos)>,
    last_number: u32,
    clock: Box<dyn AlarmClock>,
    clock_is_set: bool,
}

impl Lobby {
    /// An empty lobby that goes by `clock`.
    pub(super) fn new(clock: impl AlarmClock + 'static) -> Self {
        Self {
            waiting: HashMap::new(),
            last_number: 0,
            clock: Box::new(clock),
            clock_is_set: false,
        }
    }

    /// The descriptor that becomes readable when somebody is late.
    pub(super) fn clock_fd(&self) -> RawFd {
        self.clock.fd()
    }

    /// A number that nobody in here has.
    pub(super) fn new_number(&mut self) -> u32 {
        loop {
            self.last_number = (self.last_number + 1) % ANY;
            if !self.waiting.contains_key(&self.last_number) {
                return self.last_number;
            }
        }
    }

    /// A program comes in, from now on known by `number`.
    pub(super) fn admit(&mut self, number: u32, greeting: Greeting) {
        let until = self.clock.now() + PATIENCE.as_secs() * SECOND;
        self.waiting.insert(number, (greeting, until));
        if !self.clock_is_set {
            self.clock_is_set = true;
            self.clock.set(until);
        }
    }

    /// The program known by `number`, if it is still here.
    pub(super) fn get(&self, number: u32) -> Option<&Greeting> {
        self.waiting.get(&number).map(|(greeting, _)| greeting)
    }

    /// It leaves.
    pub(super) fn remove(&mut self, number: u32) -> Option<Greeting> {
        self.waiting.remove(&number).map(|(greeting, _)| greeting)
    }

    /// Everybody leaves.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Some of those that are late, once the clock has rung. It rings again for
    /// the others, and for those that will be.
    pub(super) fn late(&mut self) -> Vec<u32> {
        let now = self.clock.now();
        let due = self.waiting.iter().filter(|(_, (_, until))| *until <= now);
        let late: Vec<u32> = due.map(|(number, _)| *number).take(BATCH).collect();
        let others = self
            .waiting
            .iter()
            .filter(|(number, _)| !late.contains(number));
        let next = others.map(|(_, (_, until))| *until).min();
        self.clock_is_set = next.is_some();
        if let Some(next) = next {
            self.clock.set(next);
        }
        late
    }
}
