#![allow(unsafe_code)] // KVM is given host addresses.
//! Memory slots: which host memory KVM puts behind which guest addresses
//! (Documentation/virt/kvm/api.rst, `KVM_SET_USER_MEMORY_REGION`).

use devices::memory::Ram;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};

use crate::error::{Error, Result};

/// Gives `vm` all of `ram`, one slot for each range.
///
/// # Safety
/// `ram` must live until `vm` and its vCPUs are gone.
pub(crate) unsafe fn set(vm: &VmFd, ram: &Ram) -> Result<()> {
    for (slot, region) in (0..).zip(ram.iter()) {
        let userspace_addr = ram
            .get_host_address(region.start_addr())
            .map_err(|error| Error::internal("guest memory range", error))?;
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: userspace_addr as u64,
        };
        // SAFETY: the range is mapped, and stays so by this function's
        // contract; nobody in this process keeps references into it.
        unsafe { vm.set_user_memory_region(region) }.map_err(Error::kvm("set a memory slot"))?;
    }
    Ok(())
}
