//! The state that the first vCPU starts in.
//!
//! Translates a boot plan's entry state into KVM's structures. The other
//! vCPUs wait, as on a PC, for the first to wake them; KVM does that itself.

use boot::{DescriptorTable, EntryState, SegmentRegister};
use kvm_bindings::{Msrs, kvm_dtable, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;

use crate::error::{Error, Result};

/// Reserved bit that is always one (SDM vol. 1 §3.4.3).
const RFLAGS: u64 = 2;
const IA32_MISC_ENABLE: u32 = 0x1a0;
/// Fast string operations (SDM vol. 4).
const MISC_ENABLE_FAST_STRING: u64 = 1;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
/// Memory types enabled, write-back by default (SDM vol. 3 §12.11.2.1).
const MTRR_ENABLED_WRITE_BACK: u64 = 1 << 11 | 6;

/// Puts `vcpu` into `entry`.
pub(crate) fn set_entry_state(vcpu: &VcpuFd, entry: &EntryState) -> Result<()> {
    let mut sregs = vcpu
        .get_sregs()
        .map_err(Error::kvm("read system registers"))?;
    sregs.cr0 = entry.control.cr0;
    sregs.cr3 = entry.control.cr3;
    sregs.cr4 = entry.control.cr4;
    sregs.efer = entry.control.efer;
    sregs.cs = segment(&entry.code);
    for data in [
        &mut sregs.ds,
        &mut sregs.es,
        &mut sregs.fs,
        &mut sregs.gs,
        &mut sregs.ss,
    ] {
        *data = segment(&entry.data);
    }
    sregs.tr = segment(&entry.task);
    sregs.gdt = table(entry.gdt);
    sregs.idt = table(entry.idt);
    vcpu.set_sregs(&sregs)
        .map_err(Error::kvm("set system registers"))?;
    let regs = kvm_regs {
        rip: entry.rip,
        rbx: entry.rbx,
        rsi: entry.rsi,
        rflags: RFLAGS,
        ..Default::default()
    };
    vcpu.set_regs(&regs).map_err(Error::kvm("set registers"))
}

/// Sets the model-specific registers that firmware would.
pub(crate) fn set_msrs(vcpu: &VcpuFd) -> Result<()> {
    let entries = [
        msr(IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING),
        msr(IA32_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK),
    ];
    let refused = Error::kvm("set model-specific registers");
    let msrs = Msrs::from_entries(&entries)
        .map_err(|error| Error::internal("MSR table", format!("{error:?}")))?;
    // KVM stops at the first that it does not take, and gives its position.
    match vcpu.set_msrs(&msrs).map_err(&refused)? {
        set if set == entries.len() => Ok(()),
        _ => Err(refused(kvm_ioctls::Error::new(libc::EINVAL))),
    }
}

fn msr(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry {
        index,
        data,
        ..Default::default()
    }
}

fn segment(register: &SegmentRegister) -> kvm_segment {
    kvm_segment {
        base: register.base,
        limit: register.limit,
        selector: register.selector,
        type_: register.kind,
        present: 1,
        dpl: 0,
        db: u8::from(register.wide),
        s: u8::from(register.code_or_data),
        l: u8::from(register.long),
        g: u8::from(register.granular),
        ..Default::default()
    }
}

fn table(table: DescriptorTable) -> kvm_dtable {
    kvm_dtable {
        base: table.base,
        limit: table.limit,
        ..Default::default()
    }
}
