//! All vCPUs of a machine, as one: they run, they rest, they end.
//!
//! Dropping them ends their threads, whoever drops them: a machine that could
//! not be built, or the control thread when the machine stops.

use std::sync::Arc;

use devices::platform::request::RequestSender;
use kvm_ioctls::VcpuFd;

use super::gate::{Gate, Phase};
use super::vcpu::{VcpuContext, VcpuHandle};
use crate::error::Result;
use crate::metrics::VcpuMeasurements;

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

    /// `requests`, with the vCPU that causes one to go to the gate after it: a
    /// request ends the guest's run, and until then a guest that turned its
    /// power off would only ask again and again whether it is off.
    pub(crate) fn rest_after(&self, requests: RequestSender) -> RequestSender {
        let gate = Arc::clone(&self.gate);
        RequestSender::new(move |request| {
            gate.set(Phase::Paused);
            requests.send(request);
        })
    }

    /// Has all run the guest.
    pub(crate) fn run(&self) {
        self.gate.set(Phase::Running);
    }

    /// What each has done so far.
    pub(crate) fn measure(&self) -> Vec<VcpuMeasurements> {
        self.threads.iter().map(VcpuHandle::measure).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use devices::platform::request::MachineRequest;

    use super::*;

    #[test]
    fn a_vcpu_whose_guest_asked_for_an_end_does_not_go_back_to_it() {
        let vcpus = Vcpus::default();
        let (sender, received) = channel();
        let requests = RequestSender::new(move |request| sender.send(request).unwrap());
        let requests = vcpus.rest_after(requests);
        vcpus.run();
        assert_eq!(vcpus.gate.phase(), Phase::Running);
        requests.send(MachineRequest::PowerOff);
        assert_eq!(vcpus.gate.phase(), Phase::Paused);
        assert_eq!(received.try_recv(), Ok(MachineRequest::PowerOff));
    }
}
