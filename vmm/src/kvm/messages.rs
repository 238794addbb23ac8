//! What PCI devices need of KVM: messages delivered, doorbells connected.
//!
//! Messages are sent by `KVM_SIGNAL_MSI` (Documentation/virt/kvm/api.rst), one
//! system call each, as many as an irqfd needs. With irqfds, each vector that
//! a driver sets up would rewrite KVM's interrupt routes, and wait for RCU.

use std::io;
use std::sync::Arc;

use devices::pci::msix::{Message, MessageSink};
use devices::virtio::pci::Doorbells;
use kvm_bindings::kvm_msi;
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use vmm_sys_util::eventfd::EventFd;

/// A machine, as its PCI devices reach it.
#[derive(Clone)]
pub(crate) struct KvmPci(pub(crate) Arc<VmFd>);

impl MessageSink for KvmPci {
    fn send(&self, message: Message) {
        let [low, high] = [message.address & 0xffff_ffff, message.address >> 32];
        let half = |half| u32::try_from(half).expect("32 bits are left");
        // Refused, it was addressed to nobody: the guest's fault.
        let _ = self.0.signal_msi(kvm_msi {
            address_lo: half(low),
            address_hi: half(high),
            data: message.data,
            ..kvm_msi::default()
        });
    }
}

impl Doorbells for KvmPci {
    fn connect(&self, address: u64, kick: &EventFd) -> io::Result<()> {
        let at = IoEventAddress::Mmio(address);
        Ok(self.0.register_ioevent(kick, &at, NoDatamatch)?)
    }

    fn disconnect(&self, address: u64, kick: &EventFd) {
        let at = IoEventAddress::Mmio(address);
        // Refused, it was not connected.
        let _ = self.0.unregister_ioevent(kick, &at, NoDatamatch);
    }
}
