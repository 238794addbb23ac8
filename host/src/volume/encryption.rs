//! How an encrypted volume is encrypted, as its `volume.json` says, and how the
//! key of its data is had again.
//!
//! The data are under a random key of their own, which the volume keeps, and
//! its snapshots and copies with it, wrapped by another: the *wrapping key*,
//! which is kept elsewhere ([`KeySource`]). So many volumes can do with one key
//! to be looked after, and whoever copies, uploads or loads a volume needs
//! none.
//!
//! A wrong key is known before anything is read with it: by its check value,
//! and since a key that is unwrapped with another does not come out whole.

mod hex;
mod key_file;
mod key_ring;
pub mod key_source;
mod wrapping_key;

#[cfg(test)]
mod tests;

use std::fmt;

use ::volume::cipher::key::Key;
use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::record::Record;

use hex::Hex;
use key_source::KeySource;
use wrapping_key::{CHECK, WRAPPED};

/// How a volume, or a snapshot of it, is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// What its data are encrypted with.
    cipher: Cipher,
    /// What its key is wrapped with.
    wrapping: Wrapping,
    wrapped_key: Hex<WRAPPED>,
    /// Where the wrapping key was when the volume was made.
    wrapping_key: KeySource,
    /// Which key that is, without telling it.
    wrapping_key_check: Hex<CHECK>,
}

/// Ciphers for data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Cipher {
    /// [`volume::cipher`].
    #[serde(rename = "aes-256-xts")]
    Aes256Xts,
}

/// Ciphers for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Wrapping {
    /// AES key wrap (RFC 3394, NIST SP 800-38F): made for this one thing. It
    /// needs no nonce that must not be used twice.
    #[serde(rename = "aes-256-key-wrap")]
    Aes256KeyWrap,
}

impl Encryption {
    /// Encryption under a new key, which is wrapped by the one at `source`.
    ///
    /// # Errors
    /// There is no such key, or others may have it; or the kernel has no random
    /// numbers.
    pub fn new(source: KeySource) -> Result<Self, Error> {
        let wrapping_key = source.load()?;
        let key = Key::random().map_err(|error| {
            Error::unexpected("this host gives no random numbers").because(error)
        })?;
        Ok(Self {
            cipher: Cipher::Aes256Xts,
            wrapping: Wrapping::Aes256KeyWrap,
            wrapped_key: Hex(wrapping_key.wrap(&key)),
            wrapping_key: source,
            wrapping_key_check: Hex(wrapping_key.check()),
        })
    }

    /// The key of the data, of which `whose` says whose they are. The wrapping
    /// key is looked for at `given`, or else where it was.
    ///
    /// # Errors
    /// It is not there, is another, or the wrapped key is damaged.
    pub fn unlock(
        &self,
        whose: impl fmt::Display,
        given: Option<&KeySource>,
    ) -> Result<Key, Error> {
        let source = given.unwrap_or(&self.wrapping_key);
        let wrapping_key = source.load()?;
        let check = Hex(wrapping_key.check());
        if check != self.wrapping_key_check {
            let wanted = &self.wrapping_key_check;
            return Err(Error::configuration(format!(
                "{source} is another than that of {whose}: its check value is {check}, \
                 and not {wanted}"
            ))
            .remedy("--key-file FILE or --key-ring NAME with the key that it was encrypted with"));
        }
        wrapping_key.unwrap(&self.wrapped_key.0).ok_or_else(|| {
            Error::configuration(format!("the wrapped key of {whose} is damaged"))
                .remedy("the record from a backup: without this key its data cannot be read")
        })
    }
}

/// The key of a volume's data, if they are encrypted. Its wrapping key is looked
/// for at `given`, or else where it was.
///
/// # Errors
/// It is not there, is another, or nothing is encrypted and a key is given.
pub fn unlock(record: &Record, given: Option<&KeySource>) -> Result<Option<Key>, Error> {
    let whose = format!("volume '{}'", record.name);
    match (&record.encryption, given) {
        (Some(encryption), given) => encryption.unlock(whose, given).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::configuration(format!(
            "{whose} is not encrypted, and a key is given for it"
        ))
        .remedy("leaving out the key; a volume is encrypted when it is made, or never")),
    }
}

impl fmt::Display for Encryption {
    /// For people: `aes-256-xts, by key file '/etc/plinth.key' (check value …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wrapping_key,
            wrapping_key_check,
            ..
        } = self;
        write!(
            f,
            "aes-256-xts, by {wrapping_key} (check value {wrapping_key_check})"
        )
    }
}
