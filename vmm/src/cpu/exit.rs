#![allow(unsafe_code)] // Reads the union in the shared run area.
//! Why a vCPU came back from KVM, as plain data.
//!
//! The run area is shared with the kernel, which says in `exit_reason` which
//! member of its union is valid (Documentation/virt/kvm/api.rst §5). This is
//! the one place that reads it.

use kvm_bindings::{
    KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_MMIO,
    KVM_EXIT_SHUTDOWN, KVM_EXIT_SYSTEM_EVENT, kvm_run,
};

/// Bytes of the run area that port data lies in: it is at most a page behind
/// the structure (`KVM_PIO_PAGE_OFFSET`).
pub(crate) const RUN_AREA: usize = 2 * 4096;

/// What the guest did.
#[derive(Debug)]
pub(crate) enum Exit<'a> {
    /// Reads from port `port`; `data` is some accesses of `width` bytes each.
    PortRead {
        port: u16,
        width: usize,
        data: &'a mut [u8],
    },
    /// Writes to port `port`; `data` is some accesses of `width` bytes each.
    PortWrite {
        port: u16,
        width: usize,
        data: &'a [u8],
    },
    /// Reads an address where no memory is.
    MmioRead { address: u64, data: &'a mut [u8] },
    /// Writes an address where no memory is.
    MmioWrite { address: u64, data: &'a [u8] },
    /// A triple fault: an exception while handling a double fault.
    TripleFault,
    /// KVM could not go on.
    InternalError { suberror: u32, data: Vec<u64> },
    /// The processor refused the guest's state.
    EntryFailure { reason: u64 },
    /// The guest asked for something by hypercall that is not offered.
    SystemEvent { kind: u32 },
    /// Any other reason.
    Unknown { reason: u32 },
}

/// Reads the exit out of a run area of [`RUN_AREA`] bytes or more.
///
/// # Safety
/// `run` is the start of a vCPU's mapped run area, the vCPU has just come
/// back from KVM without an error, and does not run while the exit lives.
pub(crate) unsafe fn decode<'a>(run: *mut kvm_run) -> Exit<'a> {
    // SAFETY: by this function's contract the area is mapped and nobody else
    // writes to it; each union member is read under its exit reason only.
    unsafe {
        let exit_reason = (*run).exit_reason;
        let union = &raw mut (*run).__bindgen_anon_1;
        match exit_reason {
            KVM_EXIT_IO => decode_port(run),
            KVM_EXIT_MMIO => {
                let mmio = &mut (*union).mmio;
                let address = mmio.phys_addr;
                let len = usize::try_from(mmio.len).unwrap_or(0).min(mmio.data.len());
                let data = &mut mmio.data[..len];
                if mmio.is_write == 0 {
                    Exit::MmioRead { address, data }
                } else {
                    Exit::MmioWrite { address, data }
                }
            }
            KVM_EXIT_SHUTDOWN => Exit::TripleFault,
            KVM_EXIT_INTERNAL_ERROR => {
                let internal = &(*union).internal;
                let len = usize::try_from(internal.ndata).unwrap_or(0);
                Exit::InternalError {
                    suberror: internal.suberror,
                    data: internal.data[..len.min(internal.data.len())].to_vec(),
                }
            }
            KVM_EXIT_FAIL_ENTRY => Exit::EntryFailure {
                reason: (*union).fail_entry.hardware_entry_failure_reason,
            },
            KVM_EXIT_SYSTEM_EVENT => Exit::SystemEvent {
                kind: (*union).system_event.type_,
            },
            reason => Exit::Unknown { reason },
        }
    }
}

/// # Safety
/// As for [`decode`], and the exit reason is `KVM_EXIT_IO`.
unsafe fn decode_port<'a>(run: *mut kvm_run) -> Exit<'a> {
    // SAFETY: by this function's contract.
    let io = unsafe { (*run).__bindgen_anon_1.io };
    let width = usize::from(io.size).max(1);
    let offset = usize::try_from(io.data_offset).unwrap_or(RUN_AREA);
    let len = usize::try_from(io.count).unwrap_or(0).saturating_mul(width);
    let len = len.min(RUN_AREA.saturating_sub(offset));
    // SAFETY: `len` bytes at `offset` lie within the run area.
    let data = unsafe { std::slice::from_raw_parts_mut(run.cast::<u8>().add(offset), len) };
    let port = io.port;
    if u32::from(io.direction) == KVM_EXIT_IO_IN {
        Exit::PortRead { port, width, data }
    } else {
        Exit::PortWrite { port, width, data }
    }
}
