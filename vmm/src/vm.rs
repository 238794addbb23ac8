//! A machine from outside: paused when built, then a handle to operate it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::control::{Command, Message, ask};
use crate::cpu::vcpu::VcpuCounters;
use crate::error::Result;
use crate::event::{Event, StopReason};
use crate::statistics::{BootClock, Statistics};

/// A machine that is built and has not run yet.
pub struct PausedVm(pub(crate) Vm);

impl PausedVm {
    /// Runs the guest.
    ///
    /// # Errors
    /// The machine stopped meanwhile.
    pub fn start(self) -> Result<Vm> {
        self.0.resume()?;
        Ok(self.0)
    }

    /// Hears of everything that will happen to the machine.
    pub fn events(&self) -> Receiver<Event> {
        self.0.events()
    }
}

/// A machine. Dropping it stops it and frees everything that it has: memory,
/// threads, descriptors.
pub struct Vm {
    pub(crate) sender: Sender<Message>,
    /// Taken when joined.
    pub(crate) control: Option<JoinHandle<StopReason>>,
    pub(crate) stopped: Option<StopReason>,
    pub(crate) vcpus: Vec<Arc<VcpuCounters>>,
    pub(crate) clock: Arc<BootClock>,
}

impl Vm {
    /// Brings vCPUs to rest, then devices, finishing what they have in
    /// flight. Guest memory does not change until [`resume`](Self::resume).
    ///
    /// # Errors
    /// The machine has stopped, or a device could not finish in time and now
    /// needs a reset by its driver.
    pub fn pause(&self) -> Result<()> {
        ask(&self.sender, Command::Pause)
    }

    /// Has a paused machine go on.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn resume(&self) -> Result<()> {
        ask(&self.sender, Command::Resume)
    }

    /// Ends the machine at once, as if its power were cut. What the guest had
    /// in flight on disks is finished first.
    ///
    /// # Errors
    /// The machine has stopped already.
    pub fn stop(&self) -> Result<()> {
        ask(&self.sender, Command::Stop)
    }

    /// Hears of everything that will happen to the machine. The channel
    /// closes when it has stopped.
    pub fn events(&self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        // If the machine has stopped, the sender is dropped: a closed channel.
        let _ = self.sender.send(Message::Subscribe(sender));
        receiver
    }

    /// Waits until the machine has stopped and says why.
    pub fn wait(&mut self) -> StopReason {
        if let Some(control) = self.control.take() {
            // A panic of the control thread has been reported by then.
            self.stopped = control.join().ok();
        }
        self.stopped.clone().unwrap_or(StopReason::Stopped)
    }

    /// What the machine has done so far. Still there when it has stopped.
    pub fn statistics(&self) -> Statistics {
        Statistics::gather(&self.vcpus, &self.clock)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.stop();
        self.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Embedders share a machine between threads and build it on any.
    #[test]
    fn a_machine_may_be_used_from_any_thread() {
        fn shareable<T: Send + Sync>() {}
        fn movable<T: Send>() {}
        shareable::<Vm>();
        shareable::<PausedVm>();
        movable::<crate::VmBuilder>();
        movable::<Receiver<Event>>();
    }
}
