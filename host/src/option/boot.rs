//! How a kernel is entered.

use clap::ValueEnum;

/// The boot protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BootOption {
    /// What the kernel's file asks for
    #[default]
    Auto,
    /// The 64-bit Linux boot protocol
    Linux,
    /// PVH, through the kernel's Xen note
    Pvh,
}
