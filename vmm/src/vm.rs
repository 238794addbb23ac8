//! A machine from outside: paused when built, then a handle to operate it.

use std::ops::Deref;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crate::cpu::vcpu::VcpuCounters;
use crate::error::{Error, Result};
use crate::event::{Event, StopReason};
use crate::operator::Operator;
use crate::statistics::{BootClock, Statistics};

/// A machine that is built and has not run yet.
pub struct PausedVm(pub(crate) Vm);

impl PausedVm {
    /// Runs the guest. A machine that was ended before, by its console's user
    /// for instance, does not run: [`Vm::wait`] says why, as ever.
    ///
    /// # Errors
    /// What [`resume`](Operator::resume) says of a machine that is there.
    pub fn start(self) -> Result<Vm> {
        match self.0.resume() {
            Ok(()) | Err(Error::Stopped) => Ok(self.0),
            Err(error) => Err(error),
        }
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

/// A machine, operated through its [`Operator`]. Dropping it stops it and frees
/// everything that it has: memory, threads, descriptors.
pub struct Vm {
    pub(crate) operator: Operator,
    /// Taken by whoever waits first.
    control: Mutex<Option<JoinHandle<StopReason>>>,
    stopped: OnceLock<StopReason>,
    vcpus: Vec<Arc<VcpuCounters>>,
    clock: Arc<BootClock>,
}

impl Vm {
    /// The machine that `control` operates.
    pub(crate) fn new(
        operator: Operator,
        control: JoinHandle<StopReason>,
        vcpus: Vec<Arc<VcpuCounters>>,
        clock: Arc<BootClock>,
    ) -> Self {
        Self {
            operator,
            control: Mutex::new(Some(control)),
            stopped: OnceLock::new(),
            vcpus,
            clock,
        }
    }

    /// A way to operate the machine that can be cloned and kept.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// Waits until the machine has stopped and says why. Any number of threads
    /// may wait; one that operates the machine's events may not.
    pub fn wait(&self) -> StopReason {
        let join = || {
            let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            // A panic of the control thread has been reported by then.
            let reason = control.take().and_then(|control| control.join().ok());
            reason.unwrap_or(StopReason::Stopped)
        };
        self.stopped.get_or_init(join).clone()
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
