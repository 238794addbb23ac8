#![allow(unsafe_code)] // Adopts the descriptor of the KVM device.
//! A KVM machine: interrupt controllers, no vCPU and no memory yet.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

use boot::layout::{KVM_IDENTITY_MAP, KVM_TSS};
use devices::interrupt::InterruptLine;
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VmFd};
use vmm_sys_util::eventfd::EventFd;

use super::messages::KvmPci;
use super::routes::Routes;
use crate::error::{Error, Result};

/// The stable API since Linux 2.6.22 (Documentation/virt/kvm/api.rst §4.1).
const API_VERSION: i32 = 12;

/// What every machine needs, with the name a person would look for.
const NEEDED: [(Cap, &str); 9] = [
    (Cap::UserMemory, "memory slots"),
    (Cap::Irqchip, "in-kernel interrupt controllers"),
    (Cap::IrqRouting, "interrupt routing"),
    (Cap::Irqfd, "irqfd"),
    (Cap::Ioeventfd, "ioeventfd"),
    (Cap::SignalMsi, "message-signalled interrupts"),
    (Cap::ExtCpuid, "CPUID control"),
    (Cap::ImmediateExit, "immediate exit"),
    (Cap::TscDeadlineTimer, "the TSC deadline timer"),
];

/// A machine and the KVM that made it.
pub(crate) struct KvmMachine {
    pub(crate) kvm: Kvm,
    pub(crate) vm: Arc<VmFd>,
    /// Where its interrupts go.
    routes: Routes,
}

impl KvmMachine {
    /// Makes a machine with the open KVM device `kvm`.
    pub(crate) fn create(kvm: OwnedFd) -> Result<Self> {
        // SAFETY: the descriptor is owned, and is given up here. That it is
        // the KVM device shows with the first request.
        let kvm = unsafe { Kvm::from_raw_fd(kvm.into_raw_fd()) };
        match kvm.get_api_version() {
            API_VERSION => {}
            // Most likely it is not the KVM device.
            ..0 => return Err(Error::kvm("tell its version")(kvm_ioctls::Error::last())),
            _ => return Err(Error::KvmTooOld("the stable API")),
        }
        for (capability, name) in NEEDED {
            if !kvm.check_extension(capability) {
                return Err(Error::KvmTooOld(name));
            }
        }
        let vm = Arc::new(create_vm(&kvm)?);
        // Pages that KVM needs for real mode on Intel processors.
        vm.set_identity_map_address(KVM_IDENTITY_MAP)
            .map_err(Error::kvm("set the identity map page"))?;
        vm.set_tss_address(usize::try_from(KVM_TSS).expect("below 4 GiB"))
            .map_err(Error::kvm("set the task state pages"))?;
        vm.create_irq_chip()
            .map_err(Error::kvm("create interrupt controllers"))?;
        let routes = Routes::new(Arc::clone(&vm)).map_err(Error::host("route interrupts"))?;
        Ok(Self { kvm, vm, routes })
    }

    /// The machine, as its PCI devices reach it.
    pub(crate) fn pci(&self) -> KvmPci {
        KvmPci {
            vm: Arc::clone(&self.vm),
            routes: self.routes.clone(),
        }
    }

    /// Wires `line` to global system interrupt `gsi`.
    pub(crate) fn connect_interrupt(&self, line: &InterruptLine, gsi: u32) -> Result<()> {
        self.vm
            .register_irqfd(line.eventfd(), gsi)
            .map_err(Error::kvm("connect an interrupt"))
    }

    /// Has 32-bit writes of `value` to the MMIO register at `address` signal
    /// `kick` instead of exiting, for as long as the machine lives.
    pub(crate) fn connect_doorbell(&self, address: u64, value: u32, kick: &EventFd) -> Result<()> {
        self.vm
            .register_ioevent(kick, &IoEventAddress::Mmio(address), value)
            .map_err(Error::kvm("connect a queue's doorbell"))
    }
}

/// A signal may interrupt the making of a machine; then it is made again.
fn create_vm(kvm: &Kvm) -> Result<VmFd> {
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            made => return made.map_err(Error::kvm("create a virtual machine")),
        }
    }
}
