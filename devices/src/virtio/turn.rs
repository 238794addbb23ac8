//! A worker's turn at a queue: a bounded number of requests, and then others
//! on the reactor get theirs.
//!
//! A worker begins a turn when it is woken, serves what [`next`](Turn::next)
//! finds and pushes it, and notifies the driver once at the end:
//!
//! ```text
//! let mut turn = Turn::begin(&mut self.queue, BATCH)?;
//! while turn.next(&mut self.queue, &mut self.chain)? { ... push ... }
//! self.queue.notify()
//! ```
//!
//! Invariant: when a turn ends because there is nothing more, the driver
//! notifies again; when it ends because it was long enough, the worker is
//! woken again. A worker that leaves off for a reason of its own must know
//! what wakes it.

use super::chain::Chain;
use super::queue::{Queue, QueueFault};

/// A turn that has begun.
#[derive(Debug)]
pub struct Turn {
    /// Looks that are left, each for one request.
    left: u32,
}

impl Turn {
    /// Begins a turn at `queue` of `most` requests. The driver need not notify
    /// while it lasts.
    ///
    /// # Errors
    /// The ring is broken.
    pub fn begin(queue: &mut Queue, most: u32) -> Result<Self, QueueFault> {
        queue.disable_notification()?;
        Ok(Self { left: most })
    }

    /// Takes the next request of this turn into `chain`; false at the end of
    /// the turn.
    ///
    /// # Errors
    /// The ring is broken.
    pub fn next(&mut self, queue: &mut Queue, chain: &mut Chain) -> Result<bool, QueueFault> {
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            if queue.pop(chain)? {
                return Ok(true);
            }
            if !queue.enable_notification()? {
                return Ok(false);
            }
            // One came in between.
            queue.disable_notification()?;
        }
        queue.kick_again();
        Ok(false)
    }
}

/// Has `worker` do its `work` at the queue that `of` finds in it. The device of
/// a driver that breaks a ring does nothing more until it is reset, with none
/// of its queues.
pub fn guarded<W>(
    worker: &mut W,
    of: impl Fn(&W) -> &Queue,
    work: impl FnOnce(&mut W) -> Result<(), QueueFault>,
) {
    if of(worker).awaits_reset() {
        return;
    }
    if let Err(fault) = work(worker) {
        of(worker).needs_reset(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::fake_driver::FakeDriver;
    use crate::virtio::loopback::{QUEUE_SIZE, shelved};

    const EVENT_IDX: u64 = 1 << 29;

    fn add(driver: &mut FakeDriver, count: usize) {
        for _ in 0..count {
            let buffer = driver.readable(b"x");
            driver.add(0, &[buffer]);
        }
    }

    /// Returns how many requests a turn of `most` served.
    fn serve(queue: &mut Queue, most: u32) -> usize {
        let mut chain = Chain::new(queue.ram());
        let mut turn = Turn::begin(queue, most).unwrap();
        let mut served = 0;
        while turn.next(queue, &mut chain).unwrap() {
            queue.push(chain.head(), 0).unwrap();
            served += 1;
        }
        served
    }

    #[test]
    fn a_turn_serves_all_there_is_and_leaves_the_rest_to_notifications() {
        for features in [0, EVENT_IDX] {
            let (mut driver, mut queue) = shelved(features);
            assert_eq!(serve(&mut queue, 8), 0);
            add(&mut driver, 5);
            assert_eq!(serve(&mut queue, 8), 5);
            assert!(!queue.take_kick());
            assert!(!queue.enable_notification().unwrap());
        }
    }

    #[test]
    fn a_long_turn_ends_and_another_follows() {
        let (mut driver, mut queue) = shelved(EVENT_IDX);
        add(&mut driver, usize::from(QUEUE_SIZE));
        assert_eq!(serve(&mut queue, 6), 6);
        assert!(queue.take_kick());
        assert_eq!(serve(&mut queue, 100), usize::from(QUEUE_SIZE) - 6);
    }

    #[test]
    fn a_worker_whose_ring_broke_works_no_more() {
        let (mut driver, mut queue) = shelved(0);
        let mut turns = 0;
        driver.make_available(0, QUEUE_SIZE);
        for _ in 0..3 {
            guarded(
                &mut queue,
                |queue| queue,
                |queue| {
                    turns += 1;
                    let mut chain = Chain::new(queue.ram());
                    Turn::begin(queue, 1)?.next(queue, &mut chain).map(drop)
                },
            );
        }
        assert_eq!(turns, 1);
        assert!(driver.needs_reset());
    }
}
