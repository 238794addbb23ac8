//! The key that a volume's sectors are encrypted under.
//!
//! Whoever has it, has the volume: it is nowhere on disk but wrapped, never in
//! a log or an argument, and overwritten when it is dropped.

use std::fmt;
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

/// Two keys of AES-256: for the data and for the tweaks.
///
/// It lies on the heap, so that moving it leaves no copy behind.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Box<Zeroizing<[u8; Key::LEN]>>);

/// A key whose halves are the same: XTS then loses what its proof rests on
/// (FIPS 140-3 IG C.I).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the two halves of the key are the same, which AES-XTS does not allow")]
pub struct SameHalves;

impl Key {
    /// Bytes in a key.
    pub const LEN: usize = 64;

    /// A copy of `bytes`; what they were in is the caller's to overwrite.
    ///
    /// # Errors
    /// It is no key for XTS.
    pub fn new(bytes: &[u8; Self::LEN]) -> Result<Self, SameHalves> {
        let (data, tweak) = bytes.split_at(Self::LEN / 2);
        if data == tweak {
            return Err(SameHalves);
        }
        let mut key = Self::zeroes();
        key.0.copy_from_slice(bytes);
        Ok(key)
    }

    /// One that nobody knows.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut key = Self::zeroes();
        // So few bytes come whole (getrandom(2)).
        getrandom(&mut key.0[..], GetRandomFlags::empty())?;
        Ok(key)
    }

    fn zeroes() -> Self {
        Self(Box::new(Zeroizing::new([0; Self::LEN])))
    }

    /// What it consists of, for wrapping it and handing it over.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The keys for the data and for the tweaks.
    pub(super) fn halves(&self) -> (&[u8; 32], &[u8; 32]) {
        let (data, rest) = self.0.split_first_chunk().expect("a key has 64 bytes");
        let tweak = rest.first_chunk().expect("a key has 64 bytes");
        (data, tweak)
    }
}

impl fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_nothing_of_itself() {
        let key = Key::random().unwrap();
        assert_eq!(format!("{key:?}"), "Key");
        assert_ne!(key, Key::random().unwrap());
        assert_eq!(Key::new(key.as_bytes()), Ok(key));
    }

    #[test]
    fn halves_that_are_the_same_make_no_key() {
        let mut bytes = [7; Key::LEN];
        assert_eq!(Key::new(&bytes), Err(SameHalves));
        bytes[63] = 8;
        let key = Key::new(&bytes).unwrap();
        let (data, tweak) = key.halves();
        assert_eq!((data, tweak[31]), (&[7; 32], 8));
    }
}
