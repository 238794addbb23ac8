//! A machine from outside: paused when built, then a handle to operate it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use crate::cpu::vcpu::VcpuCounters;
use crate::error::Result;
use crate::event::{Event, StopReason};
use crate::operator::Operator;
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

    /// A way to operate the machine that can be cloned and kept.
    pub fn operator(&self) -> Operator {
        self.0.operator()
    }
}

/// A machine, operated through its [`Operator`]. Dropping it stops it and frees everything that it has: memory,
/// threads, descriptors.
pub struct Vm {
    pub(crate) operator: Operator,
    /// Taken when joined.
    pub(crate) control: Option<JoinHandle<StopReason>>,
    pub(crate) stopped: Option<StopReason>,
    pub(crate) vcpus: Vec<Arc<VcpuCounters>>,
    pub(crate) clock: Arc<BootClock>,
}

impl Vm {
    /// A way to operate the machine that can be cloned and kept.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
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

/// What can be asked of a machine, its handle asks.
impl Deref for Vm {
    type Target = Operator;

    fn deref(&self) -> &Operator {
        &self.operator
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
