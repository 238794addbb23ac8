//! Whether a guest's memory is to be made of transparent huge pages.

use clap::ValueEnum;
use vmm::Backing;

/// What to ask of the host's kernel.
///
/// Asking is the default: with pages of 4 KiB a Linux guest leaves for each
/// that it touches, some 20,000 times while it boots instead of 3,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HugePagesOption {
    /// Ask for them
    #[default]
    On,
    /// Ask for none
    Off,
    /// Leave it to the host's setting
    Host,
}

impl HugePagesOption {
    /// What to ask for memory made of `backing`. Memory out of a pool of huge
    /// pages needs no asking.
    pub fn advice(self, backing: Backing) -> Option<bool> {
        match (self, backing) {
            (Self::Host, _) | (_, Backing::Huge2M | Backing::Huge1G) => None,
            (Self::On, _) => Some(true),
            (Self::Off, _) => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_out_of_a_pool_are_not_asked_for_twice() {
        for option in [
            HugePagesOption::On,
            HugePagesOption::Off,
            HugePagesOption::Host,
        ] {
            assert_eq!(option.advice(Backing::Huge2M), None);
        }
        assert_eq!(HugePagesOption::On.advice(Backing::Anonymous), Some(true));
        assert_eq!(HugePagesOption::Off.advice(Backing::Shared), Some(false));
        assert_eq!(HugePagesOption::Host.advice(Backing::Anonymous), None);
    }
}
