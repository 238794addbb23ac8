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
    let offset = usize::try_from(io.data_offset).map_or(RUN_AREA, |o| o.min(RUN_AREA));
    let len = usize::try_from(io.count).unwrap_or(0).saturating_mul(width);
    let len = len.min(RUN_AREA - offset);
    // SAFETY: `len` bytes at `offset` lie within the run area.
    let data = unsafe { std::slice::from_raw_parts_mut(run.cast::<u8>().add(offset), len) };
    let port = io.port;
    if u32::from(io.direction) == KVM_EXIT_IO_IN {
        Exit::PortRead { port, width, data }
    } else {
        Exit::PortWrite { port, width, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_bindings::{
        KVM_EXIT_HLT, KVM_EXIT_IO_OUT, kvm_run__bindgen_ty_1, kvm_run__bindgen_ty_1__bindgen_ty_4,
        kvm_run__bindgen_ty_1__bindgen_ty_6,
    };

    /// A run area as KVM maps it.
    #[repr(C, align(4096))]
    struct Area([u8; RUN_AREA]);

    impl Area {
        fn new(exit_reason: u32, union: kvm_run__bindgen_ty_1) -> Box<Self> {
            let mut area = Box::new(Self([0; RUN_AREA]));
            let run: *mut kvm_run = area.run();
            // SAFETY: the area is larger than the structure, and aligned.
            unsafe {
                (*run).exit_reason = exit_reason;
                (*run).__bindgen_anon_1 = union;
            }
            area
        }

        fn run(&mut self) -> *mut kvm_run {
            self.0.as_mut_ptr().cast()
        }

        fn decode(&mut self) -> Exit<'_> {
            // SAFETY: the area is exclusively borrowed for as long.
            unsafe { decode(self.run()) }
        }
    }

    fn port(direction: u32, size: u8, count: u32, data_offset: u64) -> Box<Area> {
        let io = kvm_run__bindgen_ty_1__bindgen_ty_4 {
            direction: u8::try_from(direction).unwrap(),
            size,
            port: 0x3f8,
            count,
            data_offset,
        };
        Area::new(KVM_EXIT_IO, kvm_run__bindgen_ty_1 { io })
    }

    #[test]
    fn a_string_of_port_writes_is_its_accesses() {
        let mut area = port(KVM_EXIT_IO_OUT, 2, 3, 4096);
        area.0[4096..4102].copy_from_slice(b"abcdef");
        let Exit::PortWrite { port, width, data } = area.decode() else {
            panic!("it is a write");
        };
        assert_eq!((port, width, data), (0x3f8, 2, &b"abcdef"[..]));
    }

    #[test]
    fn what_is_read_from_a_port_goes_to_the_run_area() {
        let mut area = port(KVM_EXIT_IO_IN, 1, 1, 4096);
        let Exit::PortRead { data, .. } = area.decode() else {
            panic!("it is a read");
        };
        data.fill(0x5a);
        assert_eq!(area.0[4095..4098], [0, 0x5a, 0]);
    }

    #[test]
    fn port_data_never_leaves_the_run_area() {
        for (size, count, offset) in [
            (4, u32::MAX, 4096),
            (4, 2000, 8191),
            (1, 1, 8192),
            (1, 1, u64::MAX),
            (0, 1, 4096),
        ] {
            let mut area = port(KVM_EXIT_IO_IN, size, count, offset);
            let end = area.0.as_ptr_range().end;
            let Exit::PortRead { data, width, .. } = area.decode() else {
                panic!("it is a read");
            };
            assert!(data.as_ptr_range().end <= end);
            assert!(width > 0, "accesses of no width would never end");
        }
    }

    #[test]
    fn memory_accesses_have_the_length_that_kvm_says_up_to_eight() {
        for (len, expected) in [(1, 1), (8, 8), (9, 8), (u32::MAX, 8)] {
            for is_write in [0, 1] {
                let mmio = kvm_run__bindgen_ty_1__bindgen_ty_6 {
                    phys_addr: 0xd000_0050,
                    data: [1, 2, 3, 4, 5, 6, 7, 8],
                    len,
                    is_write,
                };
                let mut area = Area::new(KVM_EXIT_MMIO, kvm_run__bindgen_ty_1 { mmio });
                let (address, data, write) = match area.decode() {
                    Exit::MmioRead { address, data } => (address, &*data, 0),
                    Exit::MmioWrite { address, data } => (address, data, 1),
                    other => panic!("{other:?}"),
                };
                assert_eq!((address, write), (0xd000_0050, is_write));
                assert_eq!(data, &[1, 2, 3, 4, 5, 6, 7, 8][..expected]);
            }
        }
    }

    #[test]
    fn an_internal_error_gives_no_more_than_there_is() {
        let mut union = kvm_run__bindgen_ty_1::default();
        union.internal.suberror = 1;
        union.internal.ndata = u32::MAX;
        let mut area = Area::new(KVM_EXIT_INTERNAL_ERROR, union);
        let Exit::InternalError { suberror, data } = area.decode() else {
            panic!("it is an internal error");
        };
        assert_eq!((suberror, data.len()), (1, 16));
    }

    #[test]
    fn other_reasons_are_passed_on() {
        let mut area = Area::new(KVM_EXIT_HLT, kvm_run__bindgen_ty_1::default());
        assert!(matches!(
            area.decode(),
            Exit::Unknown { reason } if reason == KVM_EXIT_HLT
        ));
        let mut area = Area::new(KVM_EXIT_SHUTDOWN, kvm_run__bindgen_ty_1::default());
        assert!(matches!(area.decode(), Exit::TripleFault));
    }
}
