#![allow(unsafe_code)] // Adopts the descriptor of the KVM device.
//! A KVM machine: interrupt controllers, no vCPU and no memory yet.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

use boot::layout::{GSI_COUNT, KVM_IDENTITY_MAP, KVM_TSS};
use devices::interrupt::InterruptLine;
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KvmIrqRouting, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VmFd};
use vmm_sys_util::eventfd::EventFd;

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
        vm.set_gsi_routing(&to_ioapic_alone())
            .map_err(Error::kvm("route interrupts"))?;
        Ok(Self { kvm, vm })
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

/// The route of each interrupt line to its pin of the I/O APIC.
///
/// By default KVM leads the first 16 to the two 8259 PICs as well. Those are
/// not masked when a machine is switched on, their vectors start at 0, and no
/// firmware sets them up; a kernel that is told of hardware-reduced ACPI does
/// not either. So a device that interrupts while the kernel starts would have
/// it take an exception that never happened: IRQ 3 is a breakpoint.
fn to_ioapic_alone() -> KvmIrqRouting {
    let routes: Vec<_> = (0..GSI_COUNT)
        .map(|gsi| kvm_irq_routing_entry {
            gsi,
            type_: KVM_IRQ_ROUTING_IRQCHIP,
            u: kvm_irq_routing_entry__bindgen_ty_1 {
                irqchip: kvm_irq_routing_irqchip {
                    irqchip: KVM_IRQCHIP_IOAPIC,
                    pin: gsi,
                },
            },
            ..kvm_irq_routing_entry::default()
        })
        .collect();
    KvmIrqRouting::from_entries(&routes).expect("24 routes are fewer than KVM takes")
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
