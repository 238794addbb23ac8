//! Where KVM leads interrupts by number (`KVM_SET_GSI_ROUTING`,
//! Documentation/virt/kvm/api.rst): the lines of the I/O APIC, and behind them the
//! messages that eventfds send without this process (`KVM_IRQFD`).
//!
//! KVM takes all routes at once, and waits for RCU meanwhile. So routes are for what is
//! worth it: queues that the kernel serves itself.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use boot::layout::GSI_COUNT;
use devices::pci::msix::{Message, Wire};
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KvmIrqRouting,
    kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip,
    kvm_irq_routing_msi,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::EventFd;

use super::messages::halves;

/// The routes of a machine.
#[derive(Clone)]
pub(crate) struct Routes {
    vm: Arc<VmFd>,
    /// The messages, by the numbers that lead to them.
    messages: Arc<Mutex<BTreeMap<u32, Option<Message>>>>,
}

impl Routes {
    /// Those of `vm`, which has interrupt controllers: for now the lines alone.
    pub(crate) fn new(vm: Arc<VmFd>) -> io::Result<Self> {
        let routes = Self {
            vm,
            messages: Arc::default(),
        };
        routes.tell(&BTreeMap::new())?;
        Ok(routes)
    }

    /// Wires `call`; to no message yet.
    pub(super) fn wire(&self, call: &EventFd) -> io::Result<Irqfd> {
        let call = call.try_clone()?;
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers = GSI_COUNT..;
        let free = numbers.find(|number| !messages.contains_key(number));
        let number = free.expect("there are fewer than u32::MAX queues");
        messages.insert(number, None);
        drop(messages);
        Ok(Irqfd {
            routes: self.clone(),
            call,
            number,
            leads_to: None,
        })
    }

    /// Has `number` lead to `message`. Refused, it leads where it did.
    fn set(&self, number: u32, message: Option<Message>) -> io::Result<()> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let before = messages.insert(number, message);
        if before == Some(message) {
            return Ok(());
        }
        self.tell(&messages).inspect_err(|_| {
            messages.insert(number, before.flatten());
        })
    }

    /// Frees `number`, which leads nowhere.
    fn forget(&self, number: u32) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.remove(&number);
    }

    /// Tells KVM what leads where.
    fn tell(&self, messages: &BTreeMap<u32, Option<Message>>) -> io::Result<()> {
        let lines = (0..GSI_COUNT).map(to_ioapic);
        let sent = messages
            .iter()
            .filter_map(|(gsi, message)| message.map(|message| to_vcpu(*gsi, message)));
        let entries: Vec<_> = lines.chain(sent).collect();
        let routes = KvmIrqRouting::from_entries(&entries).map_err(io::Error::other)?;
        Ok(self.vm.set_gsi_routing(&routes)?)
    }
}

/// The route of an interrupt line to its pin of the I/O APIC alone.
///
/// By default KVM leads the first 16 to the two 8259 PICs as well. Those are
/// not masked when a machine is switched on, their vectors start at 0, and no
/// firmware sets them up; a kernel that is told of hardware-reduced ACPI does
/// not either. So a device that interrupts while the kernel starts would have
/// it take an exception that never happened: IRQ 3 is a breakpoint.
fn to_ioapic(gsi: u32) -> kvm_irq_routing_entry {
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            irqchip: kvm_irq_routing_irqchip {
                irqchip: KVM_IRQCHIP_IOAPIC,
                pin: gsi,
            },
        },
        ..kvm_irq_routing_entry::default()
    }
}

fn to_vcpu(gsi: u32, message: Message) -> kvm_irq_routing_entry {
    let [address_lo, address_hi] = halves(message.address);
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            msi: kvm_irq_routing_msi {
                address_lo,
                address_hi,
                data: message.data,
                ..kvm_irq_routing_msi::default()
            },
        },
        ..kvm_irq_routing_entry::default()
    }
}

/// An eventfd whose signals are messages.
pub(super) struct Irqfd {
    routes: Routes,
    call: EventFd,
    /// Which interrupt, as KVM counts them.
    number: u32,
    leads_to: Option<Message>,
}

impl Irqfd {
    /// Signals stay in the eventfd from now on.
    fn disconnect(&mut self) -> io::Result<()> {
        if self.leads_to.take().is_some() {
            self.routes.vm.unregister_irqfd(&self.call, self.number)?;
        }
        Ok(())
    }
}

impl Wire for Irqfd {
    fn lead_to(&mut self, message: Option<Message>) -> io::Result<()> {
        if message == self.leads_to {
            return Ok(());
        }
        let Some(new) = message else {
            return self.disconnect();
        };
        if let Err(error) = self.routes.set(self.number, message) {
            self.disconnect()?;
            return Err(error);
        }
        if self.leads_to.is_none() {
            // What was signalled before is delivered now.
            self.routes.vm.register_irqfd(&self.call, self.number)?;
        }
        self.leads_to = Some(new);
        Ok(())
    }
}

impl Drop for Irqfd {
    fn drop(&mut self) {
        // Refused, there is nothing there to be taken away.
        let _ = self.disconnect();
        let _ = self.routes.set(self.number, None);
        self.routes.forget(self.number);
    }
}
