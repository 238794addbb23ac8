//! The ground the guest tests stand on: this machine's KVM runs instructions.
//! A failure here is the machine's (or the outer machine's), not plinth's.
#![allow(unsafe_code)] // KVM is given guest memory by its address.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

const CODE: u64 = 0x1000;
const PAGE_TABLES: u64 = 0x2000;
const MEMORY: usize = 0x10000;

/// One vCPU with `code` at its instruction pointer.
struct Machine {
    vcpu: VcpuFd,
    // What KVM refers to must outlive the vCPU.
    _vm: VmFd,
    memory: GuestMemoryMmap,
}

impl Machine {
    fn new(code: &[u8]) -> Self {
        let kvm = Kvm::new().expect("no /dev/kvm: run this with cargo xtask test");
        let vm = kvm.create_vm().expect("creating a VM");
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        memory.write_slice(code, GuestAddress(CODE)).unwrap();
        let region = kvm_userspace_memory_region {
            memory_size: MEMORY as u64,
            userspace_addr: memory.get_host_address(GuestAddress(0)).unwrap() as u64,
            ..Default::default()
        };
        // SAFETY: the region is the mapping that `memory` owns, which lives as
        // long as the VM.
        unsafe { vm.set_user_memory_region(region) }.unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap();
        vcpu.set_cpuid2(&cpuid).unwrap();
        let mut registers = vcpu.get_regs().unwrap();
        registers.rip = CODE;
        registers.rflags = 2;
        vcpu.set_regs(&registers).unwrap();
        Self {
            vcpu,
            _vm: vm,
            memory,
        }
    }

    /// The bytes written to port 0x10 until the guest halts.
    fn run(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            match self.vcpu.run().expect("running the vCPU") {
                VcpuExit::IoOut(0x10, data) => written.extend_from_slice(data),
                VcpuExit::Hlt => return written,
                other => panic!("unexpected exit {other:?}; is this KVM real?"),
            }
        }
    }
}

#[test]
fn real_mode_instructions_run() {
    // mov al, 20; add al, 22; out 0x10, al; mov [0x8000], al; hlt
    let code = [0xb0, 20, 0x04, 22, 0xe6, 0x10, 0xa2, 0x00, 0x80, 0xf4];
    let mut machine = Machine::new(&code);
    let mut special = machine.vcpu.get_sregs().unwrap();
    special.cs.base = 0;
    special.cs.selector = 0;
    machine.vcpu.set_sregs(&special).unwrap();

    assert_eq!(machine.run(), [42]);
    let stored: u8 = machine.memory.read_obj(GuestAddress(0x8000)).unwrap();
    assert_eq!(stored, 42);
}

#[test]
fn long_mode_instructions_run() {
    // These are what a KVM that only emulates stumbles over:
    // lock cmpxchg16b [0x8000] with rdx:rax = 0 and rcx:rbx = 7:5, then
    // mov al, [0x8008]; out 0x10, al; hlt
    let code = [
        0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0x80, 0x00, 0x00, // lock cmpxchg16b
        0x8a, 0x04, 0x25, 0x08, 0x80, 0x00, 0x00, // mov al, [0x8008]
        0xe6, 0x10, 0xf4,
    ];
    let mut machine = Machine::new(&code);
    enter_long_mode(&machine);
    let mut registers = machine.vcpu.get_regs().unwrap();
    (registers.rax, registers.rdx) = (0, 0);
    (registers.rbx, registers.rcx) = (5, 7);
    machine.vcpu.set_regs(&registers).unwrap();

    assert_eq!(machine.run(), [7]);
    let stored: u64 = machine.memory.read_obj(GuestAddress(0x8000)).unwrap();
    assert_eq!(stored, 5);
}

/// 64-bit mode with the first 2 MiB mapped one to one (SDM vol. 3, 4.5).
fn enter_long_mode(machine: &Machine) {
    const PRESENT_WRITABLE: u64 = 0x3;
    const HUGE: u64 = 0x80;
    let entries = [
        (PAGE_TABLES, (PAGE_TABLES + 0x1000) | PRESENT_WRITABLE),
        (
            PAGE_TABLES + 0x1000,
            (PAGE_TABLES + 0x2000) | PRESENT_WRITABLE,
        ),
        (PAGE_TABLES + 0x2000, PRESENT_WRITABLE | HUGE),
    ];
    for (address, entry) in entries {
        machine
            .memory
            .write_obj(entry, GuestAddress(address))
            .unwrap();
    }
    let mut special = machine.vcpu.get_sregs().unwrap();
    special.cr3 = PAGE_TABLES;
    special.cr4 |= 1 << 5; // PAE
    special.cr0 |= 1 << 31 | 1; // PG, PE
    special.efer |= 1 << 10 | 1 << 8; // LMA, LME
    let flat = kvm_segment {
        limit: u32::MAX,
        selector: 0x10,
        type_: 3, // data, writable, accessed
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    };
    special.cs = kvm_segment {
        selector: 8,
        type_: 11, // code, readable, accessed
        l: 1,
        db: 0,
        ..flat
    };
    for segment in [&mut special.ds, &mut special.es, &mut special.ss] {
        *segment = flat;
    }
    machine.vcpu.set_sregs(&special).unwrap();
}
