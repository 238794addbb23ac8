//! The I/O threads of a machine, and which queue is served by which.
//!
//! The first thread serves everything: consoles, timers, devices with one
//! queue, and the first queue of every other. A device with more queues has
//! its second served by the second thread, and so on; threads are started when
//! the first device comes that has a use for them. So a machine whose devices
//! have one queue each has one I/O thread, and two queues of a disk are worked
//! off by two host CPUs.
//!
//! Why by the number of the queue, and not a thread for each: Linux gives each
//! vCPU one queue of each device, its first queue to the first vCPU. What one
//! vCPU can ask for, of all its devices together, is about what one thread can
//! do; with a thread for each queue a machine with many disks would have many
//! threads that mostly sleep. For the same reason there are never more threads
//! than vCPUs.

use std::io;

use super::{Reactor, ReactorHandle};

/// A machine's I/O threads, at least one.
pub struct IoThreads {
    first: Reactor,
    others: Vec<Reactor>,
    /// How many there may be besides the first.
    most_others: usize,
}

impl IoThreads {
    /// Starts the first thread of `most`, of which there is at least one.
    ///
    /// # Errors
    /// No descriptor or no thread is to be had.
    pub fn start(most: usize) -> io::Result<Self> {
        Ok(Self {
            first: Reactor::spawn("io")?,
            others: Vec::new(),
            most_others: most.saturating_sub(1),
        })
    }

    /// The thread that serves what has no queues, or one.
    pub fn first(&self) -> ReactorHandle {
        self.first.handle()
    }

    /// The threads for a device with `queues` queues, in the order of its
    /// queues. If there are fewer, they are to be taken in turn.
    ///
    /// # Errors
    /// No descriptor or no thread is to be had.
    pub fn for_queues(&mut self, queues: u16) -> io::Result<Vec<ReactorHandle>> {
        let others = usize::from(queues.saturating_sub(1)).min(self.most_others);
        while self.others.len() < others {
            let name = format!("io-{}", self.others.len() + 1);
            self.others.push(Reactor::spawn(&name)?);
        }
        let all = [&self.first].into_iter().chain(&self.others[..others]);
        Ok(all.map(Reactor::handle).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_start_when_a_device_has_a_use_for_them_and_are_shared() {
        let mut threads = IoThreads::start(4).unwrap();
        for (queues, given, running) in [(1, 1, 0), (3, 3, 2), (2, 2, 2), (16, 4, 3)] {
            assert_eq!(threads.for_queues(queues).unwrap().len(), given);
            assert_eq!(threads.others.len(), running);
        }
    }

    #[test]
    fn a_machine_with_one_vcpu_has_one_thread() {
        for most in [0, 1] {
            let mut threads = IoThreads::start(most).unwrap();
            assert_eq!(threads.for_queues(16).unwrap().len(), 1);
        }
    }
}
