//! What a guest's memory is made of on the host.

use clap::ValueEnum;
use vmm::Backing;

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

impl From<BackingOption> for Backing {
    fn from(option: BackingOption) -> Self {
        match option {
            BackingOption::Anonymous => Self::Anonymous,
            BackingOption::Shared => Self::Shared,
            BackingOption::Hugetlb2M => Self::Huge2M,
            BackingOption::Hugetlb1G => Self::Huge1G,
        }
    }
}
