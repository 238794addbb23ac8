//! What PCI devices need of KVM: messages delivered, doorbells connected.
//!
//! Messages are sent by `KVM_SIGNAL_MSI` (Documentation/virt/kvm/api.rst), one
//! system call each, as many as an irqfd needs. With irqfds, each vector that
//! a driver sets up would rewrite KVM's interrupt routes, and wait for RCU; so they are
//! for queues that something else than this process serves.

use std::io;
use std::sync::Arc;

use devices::pci::msix::{Message, MessageSink, Wire};
use devices::virtio::pci::Doorbells;
use kvm_bindings::kvm_msi;
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use vmm_sys_util::eventfd::EventFd;

use super::routes::Routes;

/// A machine, as its PCI devices reach it.
#[derive(Clone)]
pub(crate) struct KvmPci {
    pub(crate) vm: Arc<VmFd>,
    pub(crate) routes: Routes,
}

/// The lower and the upper 32 bits of an address.
pub(super) fn halves(address: u64) -> [u32; 2] {
    [address & 0xffff_ffff, address >> 32]
        .map(|half| u32::try_from(half).expect("32 bits are left"))
}

impl MessageSink for KvmPci {
    fn send(&self, message: Message) {
        let [address_lo, address_hi] = halves(message.address);
        // Refused, it was addressed to nobody: the guest's fault.
        let _ = self.vm.signal_msi(kvm_msi {
            address_lo,
            address_hi,
            data: message.data,
            ..kvm_msi::default()
        });
    }

    fn wire(&self, call: &EventFd) -> io::Result<Box<dyn Wire>> {
        Ok(Box::new(self.routes.wire(call)?))
    }
}

impl Doorbells for KvmPci {
    fn connect(&self, port: u64, kick: &EventFd) -> io::Result<()> {
        let at = IoEventAddress::Pio(port);
        Ok(self.vm.register_ioevent(kick, &at, NoDatamatch)?)
    }

    fn disconnect(&self, port: u64, kick: &EventFd) {
        let at = IoEventAddress::Pio(port);
        // Refused, it was not connected.
        let _ = self.vm.unregister_ioevent(kick, &at, NoDatamatch);
    }
}
