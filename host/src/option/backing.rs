//! What a guest's memory is made of on the host.

use clap::ValueEnum;

/// Where the host takes guest memory from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BackingOption {
    /// Private anonymous memory
    #[default]
    Anonymous,
    /// A memory file that other processes can map
    Shared,
    /// Huge pages of 2 MiB from the host's pool
    #[value(name = "hugetlb-2m")]
    Hugetlb2M,
    /// Huge pages of 1 GiB from the host's pool
    #[value(name = "hugetlb-1g")]
    Hugetlb1G,
}

impl BackingOption {
    /// The size of the huge pages in bytes, if it is made of them.
    pub fn huge_page(self) -> Option<u64> {
        match self {
            Self::Anonymous | Self::Shared => None,
            Self::Hugetlb2M => Some(2 << 20),
            Self::Hugetlb1G => Some(1 << 30),
        }
    }
}
