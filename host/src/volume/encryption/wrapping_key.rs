//! The key that volumes' own keys are wrapped with: 256 bits that somebody
//! looks after outside plinth.

use std::fmt;

use ::volume::cipher::key::Key;
use aes_kw::{IV_LEN, KeyInit, KwAes256};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::hex;

/// Bytes in it.
const LEN: usize = 32;

/// Bytes in a wrapped key.
pub(super) const WRAPPED: usize = Key::LEN + IV_LEN;

/// Bytes in a check value.
pub(super) const CHECK: usize = 8;

/// More bytes than this no key has, digits and the end of their line included.
pub(super) const MOST: usize = 2 * LEN + 1;

/// What a check value begins with, so that it is no hash of the key that is
/// used for anything else.
const PURPOSE: &[u8] = b"plinth wrapping key check\0";

/// A wrapping key.
pub(super) struct WrappingKey(Box<Zeroizing<[u8; LEN]>>);

impl WrappingKey {
    /// The key that `payload` is: its 32 bytes, or 64 hexadecimal digits, with
    /// or without the end of a line. `None` for anything else.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let mut key = Box::new(Zeroizing::new([0; LEN]));
        match payload.len() {
            LEN => key.copy_from_slice(payload),
            _ => {
                let digits = payload.strip_suffix(b"\n").unwrap_or(payload);
                key.copy_from_slice(&*Zeroizing::new(hex::decode::<LEN>(digits)?));
            }
        }
        Some(Self(key))
    }

    /// Which key it is: it can be told from another by this, and not be had
    /// from it.
    pub(super) fn check(&self) -> [u8; CHECK] {
        let digest = Sha256::new()
            .chain_update(PURPOSE)
            .chain_update(&self.0[..]);
        let digest: [u8; 32] = digest.finalize().into();
        let (check, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        *check
    }

    /// Wraps `key`.
    pub(super) fn wrap(&self, key: &Key) -> [u8; WRAPPED] {
        let mut wrapped = [0; WRAPPED];
        let outcome = self.cipher().wrap_key(key.as_bytes(), &mut wrapped);
        outcome.expect("a key is whole blocks, and there is room for one more");
        wrapped
    }

    /// What [`wrap`](Self::wrap) was given; `None` if it gave no such thing.
    pub(super) fn unwrap(&self, wrapped: &[u8; WRAPPED]) -> Option<Key> {
        let mut key = Zeroizing::new([0; Key::LEN]);
        self.cipher().unwrap_key(wrapped, &mut key[..]).ok()?;
        Key::new(&key).ok()
    }

    fn cipher(&self) -> KwAes256 {
        let key: &[u8; LEN] = &self.0;
        KwAes256::new(key.into())
    }
}

impl fmt::Debug for WrappingKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_bytes_or_digits() {
        let digits = b"000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f";
        let bytes: [u8; LEN] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let check = WrappingKey::parse(&bytes).unwrap().check();
        let line = [digits, &b"\n"[..]].concat();
        for same in [&digits[..], &line] {
            assert_eq!(WrappingKey::parse(same).unwrap().check(), check);
        }
        let two = [digits, &b"\n\n"[..]].concat();
        let spoilt = [b"g", &digits[1..]].concat();
        for other in [b"", &bytes[..31], &digits[..63], &two, &spoilt] {
            assert!(WrappingKey::parse(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_key_comes_out_of_what_it_was_wrapped_into_and_of_nothing_else() {
        let wrapping = WrappingKey::parse(&[7; LEN]).unwrap();
        let key = Key::random().unwrap();
        let wrapped = wrapping.wrap(&key);
        assert_eq!(wrapping.unwrap(&wrapped), Some(key));
        for at in 0..WRAPPED {
            let mut spoilt = wrapped;
            spoilt[at] ^= 1;
            assert_eq!(wrapping.unwrap(&spoilt), None);
        }
        let other = WrappingKey::parse(&[8; LEN]).unwrap();
        assert_eq!(other.unwrap(&wrapped), None);
        assert_ne!(other.check(), wrapping.check());
        assert_eq!(format!("{other:?}"), "WrappingKey");
    }
}
