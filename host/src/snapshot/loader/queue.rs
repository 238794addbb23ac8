//! Which block is loaded next.
//!
//! A request is one loading and one answer: once it was answered for, the guest
//! may write to the block.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use volume::BLOCK;
use volume::fetch::{Request, Wish};

/// Requests of either kind that wait; more are refused.
const MOST: usize = 1 << 16;

/// What has been asked for.
pub(super) struct Queue {
    urgent: VecDeque<u32>,
    /// May name blocks that have become urgent.
    paced: VecDeque<u32>,
    /// Those that wait, and whether as urgent ones.
    waiting: HashMap<u32, bool>,
    busy: HashSet<u32>,
    /// The time for each block that is not urgent.
    pace: Duration,
    /// When the next one's comes.
    due: Instant,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It will be answered; or needs no answer.
    Waits,
    /// Too many are waited for.
    Refused,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Load this block.
    Block(u32),
    /// Nothing, for this long.
    Later(Duration),
    /// Nothing.
    Nothing,
}

impl Queue {
    /// Nothing has been asked for; what is not urgent is to be loaded at `rate`
    /// bytes in a second from `now`.
    pub(super) fn new(rate: Option<u64>, now: Instant) -> Self {
        let pace = rate.map(|rate| {
            Duration::from_secs(BLOCK) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX)
        });
        Self {
            urgent: VecDeque::new(),
            paced: VecDeque::new(),
            waiting: HashMap::new(),
            busy: HashSet::new(),
            pace: pace.unwrap_or(Duration::ZERO),
            due: now,
        }
    }

    /// Takes a request in.
    pub(super) fn ask(&mut self, request: Request) -> Asked {
        let Request { block, wish } = request;
        let waits_as = self.waiting.get(&block).copied();
        let urgent = match wish {
            // Somebody is at it, or it was answered meanwhile.
            Wish::Hurry if waits_as != Some(false) => return Asked::Waits,
            // Nobody does this; one answer is all that there will be.
            Wish::Load | Wish::Urgent if waits_as.is_some() || self.busy.contains(&block) => {
                return Asked::Waits;
            }
            Wish::Hurry | Wish::Urgent => true,
            Wish::Load => false,
        };
        let blocks = match urgent {
            true => &mut self.urgent,
            false => &mut self.paced,
        };
        if blocks.len() >= MOST {
            // One that is to hurry comes in its turn.
            return match wish {
                Wish::Hurry => Asked::Waits,
                Wish::Load | Wish::Urgent => Asked::Refused,
            };
        }
        blocks.push_back(block);
        self.waiting.insert(block, urgent);
        Asked::Waits
    }

    /// What is to be done `now`. A block that is given is to be
    /// [`done`](Self::done).
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(block) = self.urgent.pop_front() {
            return self.begin(block);
        }
        while let Some(&block) = self.paced.front() {
            if self.waiting.get(&block) != Some(&false) {
                self.paced.pop_front();
                continue;
            }
            if now < self.due {
                return Next::Later(self.due - now);
            }
            // Time that nobody used is not made up for.
            self.due = now.max(self.due) + self.pace;
            self.paced.pop_front();
            return self.begin(block);
        }
        Next::Nothing
    }

    fn begin(&mut self, block: u32) -> Next {
        self.waiting.remove(&block);
        self.busy.insert(block);
        Next::Block(block)
    }

    /// A block was loaded, or could not be.
    pub(super) fn done(&mut self, block: u32) {
        self.busy.remove(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paced(block: u32) -> Request {
        let wish = Wish::Load;
        Request { block, wish }
    }

    fn urgent(block: u32) -> Request {
        let wish = Wish::Urgent;
        Request { block, wish }
    }

    fn hurry(block: u32) -> Request {
        let wish = Wish::Hurry;
        Request { block, wish }
    }

    #[test]
    fn urgent_blocks_come_first_and_each_once() {
        let now = Instant::now();
        let mut queue = Queue::new(None, now);
        for request in [paced(1), paced(2), urgent(3), paced(2), hurry(2), hurry(3)] {
            assert_eq!(queue.ask(request), Asked::Waits);
        }
        for expected in [
            Next::Block(3),
            Next::Block(2),
            Next::Block(1),
            Next::Nothing,
        ] {
            assert_eq!(queue.next(now), expected);
        }
    }

    #[test]
    fn a_block_that_somebody_is_at_or_that_was_answered_for_does_not_hurry() {
        let now = Instant::now();
        let mut queue = Queue::new(None, now);
        queue.ask(paced(5));
        assert_eq!(queue.next(now), Next::Block(5));
        assert_eq!(queue.ask(hurry(5)), Asked::Waits);
        assert_eq!(queue.next(now), Next::Nothing);
        queue.done(5);
        assert_eq!(queue.ask(hurry(5)), Asked::Waits);
        assert_eq!(queue.next(now), Next::Nothing);
    }

    #[test]
    fn a_block_that_was_answered_for_can_be_asked_for_again() {
        let now = Instant::now();
        let mut queue = Queue::new(None, now);
        queue.ask(paced(5));
        queue.next(now);
        queue.done(5);
        assert_eq!(queue.ask(paced(5)), Asked::Waits);
        assert_eq!(queue.next(now), Next::Block(5));
    }

    #[test]
    fn what_is_not_urgent_keeps_to_the_rate() {
        let start = Instant::now();
        let mut queue = Queue::new(Some(2 * BLOCK), start);
        let half = Duration::from_millis(500);
        for block in 0..4 {
            queue.ask(paced(block));
        }
        assert_eq!(queue.next(start), Next::Block(0));
        assert_eq!(queue.next(start), Next::Later(half));
        queue.ask(urgent(9));
        assert_eq!(queue.next(start), Next::Block(9));
        assert_eq!(queue.next(start + half), Next::Block(1));
        let late = start + 10 * half;
        assert_eq!(queue.next(late), Next::Block(2));
        assert_eq!(queue.next(late), Next::Later(half));
    }

    #[test]
    fn what_is_asked_for_in_excess_is_refused() {
        let now = Instant::now();
        let mut queue = Queue::new(None, now);
        let most = u32::try_from(MOST).unwrap();
        for block in 0..most {
            assert_eq!(queue.ask(paced(block)), Asked::Waits);
        }
        assert_eq!(queue.ask(paced(most)), Asked::Refused);
        assert_eq!(queue.ask(urgent(most)), Asked::Waits);
        queue.next(now);
        queue.next(now);
        assert_eq!(queue.ask(paced(most + 1)), Asked::Waits);
    }
}
