//! All vCPUs of a machine, as one: they run, they rest, they end.
//!
//! Dropping them ends their threads, whoever drops them: a machine that could
//! not be built, or the control thread when the machine stops.

use std::sync::Arc;

use kvm_ioctls::VcpuFd;

use super::gate::{Gate, Phase};
use super::vcpu::{VcpuContext, VcpuHandle};
use crate::error::Result;

/// vCPU threads, and the gate that they wait at until [`run`](Self::run).
#[derive(Default)]
pub(crate) struct Vcpus {
    gate: Arc<Gate>,
    threads: Vec<VcpuHandle>,
}

impl Vcpus {
    /// Starts a thread for `vcpu`, which waits.
    pub(crate) fn add(
        &mut self,
        vcpu: VcpuFd,
        run_size: usize,
        context: VcpuContext,
    ) -> Result<()> {
        let gate = Arc::clone(&self.gate);
        self.threads
            .push(VcpuHandle::spawn(vcpu, run_size, gate, context)?);
        Ok(())
    }

    /// Has all run the guest.
    pub(crate) fn run(&self) {
        self.gate.set(Phase::Running);
    }

    /// Brings all to rest, and waits until they do.
    pub(crate) fn pause(&self) {
        self.leave(Phase::Paused);
        self.gate.wait_until_empty();
    }

    /// Has all come back to the gate.
    fn leave(&self, phase: Phase) {
        self.gate.set(phase);
        self.threads.iter().for_each(VcpuHandle::kick);
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        self.leave(Phase::Ended);
        self.threads.drain(..).for_each(VcpuHandle::join);
    }
}
