//! Making vCPUs, in the state in which a machine is switched on.

use boot::{BootPlan, CpuCount};
use kvm_ioctls::VcpuFd;

use super::cpuid::CpuidTemplate;
use super::registers;
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;

/// Makes `cpus` vCPUs of `machine`. The first starts as `plan` says, the others
/// wait for it to start them.
pub(crate) fn create_vcpus(
    machine: &KvmMachine,
    cpus: CpuCount,
    plan: &BootPlan,
) -> Result<Vec<VcpuFd>> {
    let vcpus = (0..cpus.get())
        .map(|id| machine.vm.create_vcpu(id.into()))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(Error::kvm("create a vCPU"))?;
    let first = &vcpus[0];
    let tsc_khz = first
        .get_tsc_khz()
        .map_err(Error::kvm("tell the time stamp counter's frequency"))?;
    let cpuid = CpuidTemplate::new(&machine.kvm, cpus.get(), tsc_khz)?;
    for (id, vcpu) in (0..).zip(&vcpus) {
        vcpu.set_cpuid2(&cpuid.for_cpu(id)?)
            .map_err(Error::kvm("set CPU features"))?;
        registers::set_msrs(vcpu)?;
    }
    registers::set_entry_state(first, &plan.entry)?;
    Ok(vcpus)
}
