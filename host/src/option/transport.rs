//! How the guest reaches its virtio devices.

use clap::ValueEnum;
use vmm::config::TransportKind;

/// A virtio transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TransportOption {
    /// PCI functions with MSI-X, which come and go while the guest runs
    #[default]
    Pci,
    /// Fixed registers, for guests without PCI
    Mmio,
}

impl From<TransportOption> for TransportKind {
    fn from(option: TransportOption) -> Self {
        match option {
            TransportOption::Pci => Self::Pci,
            TransportOption::Mmio => Self::Mmio,
        }
    }
}
