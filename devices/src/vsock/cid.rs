//! A guest's context id: its address (virtio 1.3 §5.10.4).

use std::fmt;
use std::str::FromStr;

/// An address that a guest may have: 3 to 2^32 - 2. Those below are the
/// hypervisor's, the guest's own and the host's; the one above means any
/// (vsock(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestCid(u32);

/// A number that is no guest's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a guest's context id is from 3 to 4294967294")]
pub struct NotAGuestCid;

impl GuestCid {
    /// The address `cid`.
    ///
    /// # Errors
    /// It is reserved.
    pub fn new(cid: u32) -> Result<Self, NotAGuestCid> {
        if (3..u32::MAX).contains(&cid) {
            Ok(Self(cid))
        } else {
            Err(NotAGuestCid)
        }
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for GuestCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GuestCid {
    type Err = NotAGuestCid;

    fn from_str(text: &str) -> Result<Self, NotAGuestCid> {
        text.parse().map_err(|_| NotAGuestCid).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_addresses_are_refused() {
        assert_eq!("3".parse::<GuestCid>().unwrap().get(), 3);
        assert_eq!(
            "4294967294".parse::<GuestCid>().unwrap().get(),
            u32::MAX - 1
        );
        for text in ["0", "1", "2", "4294967295", "4294967296", "-1", "", "x"] {
            assert_eq!(text.parse::<GuestCid>(), Err(NotAGuestCid), "{text}");
        }
    }
}
