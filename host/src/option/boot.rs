//! How a kernel is entered.

use clap::ValueEnum;
use vmm::Protocol;

/// The boot protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BootOption {
    /// The best one for the kernel's format
    #[default]
    Auto,
    /// The 64-bit Linux boot protocol
    Linux,
    /// PVH, through an ELF kernel's note
    Pvh,
}

impl From<BootOption> for Protocol {
    fn from(option: BootOption) -> Self {
        match option {
            BootOption::Auto => Self::Auto,
            BootOption::Linux => Self::Linux64,
            BootOption::Pvh => Self::Pvh,
        }
    }
}
