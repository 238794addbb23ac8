//! A virtual machine that never runs, for as long as the outer machine does.
//!
//! With the first machine and with the last one, KVM has the kernel patch its
//! own code: the hook in every task switch that vCPU threads need, and its
//! shortcut for local APICs that are all on. While that goes on, a processor
//! that comes by executes a breakpoint and tries again. QEMU 7.2 sometimes
//! keeps the breakpoint among what it has translated, though it is gone from
//! memory: from then on all processors try again for ever. With this machine
//! there is never a first or a last one.

use std::io;

use kvm_ioctls::{Kvm, VcpuFd, VmFd};

/// Keeps KVM in use until it is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    _vcpu: VcpuFd,
    _vm: VmFd,
}

impl Keeper {
    /// A machine with a local APIC that its software has not turned on.
    pub(crate) fn new() -> io::Result<Self> {
        let vm = Kvm::new()?.create_vm()?;
        vm.create_irq_chip()?;
        Ok(Self {
            _vcpu: vm.create_vcpu(0)?,
            _vm: vm,
        })
    }
}
