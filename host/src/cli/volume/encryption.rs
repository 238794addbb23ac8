//! What the user says of encryption when a volume is made.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::volume::encryption::Encryption;
use crate::volume::encryption::key_source::{KeyName, KeySource};

/// Whether a volume is encrypted, and where the key is that its own key is
/// wrapped with.
#[derive(Clone, Debug, Args)]
pub(super) struct EncryptionOptions {
    /// Encrypt it, with AES-256-XTS under a key of its own
    #[arg(long, requires = "key")]
    encrypted: bool,

    #[command(flatten)]
    key: KeyOptions,
}

/// Where a wrapping key is.
#[derive(Clone, Debug, Args)]
#[group(id = "key", multiple = false)]
pub(super) struct KeyOptions {
    /// The key that the volume's own key is wrapped with: a file of 32 bytes or
    /// 64 hexadecimal digits that nobody else may read
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// The same in the kernel's keyring: the description of a key of type user
    #[arg(long, value_name = "NAME")]
    key_ring: Option<KeyName>,
}

impl EncryptionOptions {
    /// Whether it is to be encrypted.
    pub(super) fn is_asked_for(&self) -> bool {
        self.encrypted
    }

    /// The encryption of a new volume, if it is to have one.
    ///
    /// # Errors
    /// There is no such key, or others may have it; or one is given and nothing
    /// is to be encrypted.
    pub(super) fn begin(&self) -> Result<Option<Encryption>, Error> {
        match (self.encrypted, self.key.source()?) {
            (true, Some(source)) => Encryption::new(source).map(Some),
            (_, None) => Ok(None),
            (false, Some(_)) => Err(
                Error::configuration("a key is given, and --encrypted is not")
                    .remedy("adding --encrypted, or leaving out the key"),
            ),
        }
    }
}

impl KeyOptions {
    /// Where the key is, if the user said so.
    pub(super) fn source(&self) -> Result<Option<KeySource>, Error> {
        match (&self.key_file, &self.key_ring) {
            (Some(path), _) => KeySource::file(path).map(Some),
            (None, Some(name)) => Ok(Some(KeySource::Keyring(name.clone()))),
            (None, None) => Ok(None),
        }
    }
}
