//! Bytes in, load plan out: what must lie where in guest memory, and in which
//! registers the first vCPU starts, for an x86_64 Linux guest.
//!
//! [`plan()`] reads a kernel image's headers through [`KernelImage`] and returns
//! a [`BootPlan`]: a list of [`Segment`]s (ranges of the kernel file, the
//! initrd, or bytes made here) and an [`EntryState`]. It never reads the kernel
//! whole, so whoever performs the plan reads or maps it straight into guest
//! memory. Nothing here knows KVM, opens a file, or is `unsafe`.
//!
//! A kernel image is hostile input: every accepted plan has segments inside
//! guest RAM that do not overlap, and file ranges inside the file.

mod acpi;
mod bzimage;
mod cmdline;
mod elf;
mod entry;
mod error;
#[cfg(test)]
mod fixture;
mod image;
mod initrd;
mod kernel;
pub mod layout;
mod linux;
mod machine;
mod memory;
mod page_tables;
mod plan;
mod pvh;
mod reset_vector;
mod sections;
mod segment;
pub mod smbios;

pub use cmdline::CommandLine;
pub use entry::{ControlRegisters, DescriptorTable, EntryState, SegmentRegister};
pub use error::Error;
pub use image::KernelImage;
pub use machine::{CpuCount, Machine, MmioDevice, PciHost, Protocol, SlotSet};
pub use memory::MemoryLayout;
pub use plan::{BootPlan, plan};
pub use segment::{Content, Segment};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;
