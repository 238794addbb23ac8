//! A wrapping key in the kernel's keyring: a key of type "user" (keyrings(7)),
//! found by its description in what the process has: its session's keyring, and
//! what that leads to.

use linux_keyutils::{KeyError, KeyRing, KeyRingIdentifier};
use zeroize::Zeroizing;

use super::wrapping_key::{MOST, WrappingKey};
use crate::error::Error;

/// Reads the key that is called `name`.
///
/// # Errors
/// There is none, or the kernel does not tell it.
pub(super) fn read(name: &str) -> Result<WrappingKey, Error> {
    // What is found is linked to this keyring, which ends with the thread.
    let found = KeyRing::from_special_id(KeyRingIdentifier::Thread, true)
        .and_then(|ring| ring.request_key(name, None::<&str>));
    let key = found.map_err(|error| refused(name, error))?;
    let mut bytes = Zeroizing::new([0; MOST + 1]);
    let len = key
        .read(&mut *bytes)
        .map_err(|error| refused(name, error))?;
    // A longer key has told its length and nothing else (keyctl_read(3)).
    let key = bytes.get(..len).and_then(WrappingKey::parse);
    key.ok_or_else(|| {
        Error::configuration(format!(
            "the key '{name}' in the kernel's keyring is not one of 32 bytes or 64 hexadecimal \
             digits"
        ))
    })
}

fn refused(name: &str, error: KeyError) -> Error {
    let why = match error {
        KeyError::KeyDoesNotExist => "is not there",
        KeyError::KeyExpired => "has expired",
        KeyError::KeyRevoked => "was revoked",
        KeyError::AccessDenied | KeyError::PermissionDenied => "is not for this user to read",
        _ => "cannot be had",
    };
    let refused = Error::configuration(format!("the key '{name}' in the kernel's keyring {why}"));
    match error {
        KeyError::KeyDoesNotExist => refused.remedy(
            "adding it to this session, keyctl padd user NAME @s < FILE; or \
             keyctl link @u @s, if it is in the user's keyring",
        ),
        KeyError::KeyExpired | KeyError::KeyRevoked => refused.remedy("adding it again"),
        other => refused.because(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that this thread alone has, as long as it lives.
    fn add(name: &str, payload: &[u8]) -> linux_keyutils::Key {
        let ring = KeyRing::from_special_id(KeyRingIdentifier::Thread, true).unwrap();
        ring.add_key(name, payload).unwrap()
    }

    #[test]
    fn a_key_is_found_by_its_description() {
        add("plinth-test:bytes", &[7; 32]);
        add("plinth-test:digits", b"07".repeat(32).as_slice());
        let [bytes, digits] = ["bytes", "digits"].map(|name| {
            let key = read(&format!("plinth-test:{name}")).unwrap();
            key.check()
        });
        assert_eq!(bytes, digits);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let missing = read("plinth-test:missing").unwrap_err().report();
        assert!(missing.contains("is not there"), "{missing}");
        for (name, len) in [("short", 31), ("long", 66), ("longer", 1000)] {
            let name = format!("plinth-test:{name}");
            add(&name, &vec![7; len]);
            let report = read(&name).unwrap_err().report();
            assert!(report.contains("32 bytes or 64"), "{report}");
        }
        add("plinth-test:revoked", &[7; 32]).revoke().unwrap();
        let report = read("plinth-test:revoked").unwrap_err().report();
        assert!(
            report.contains("revoked") || report.contains("not there"),
            "{report}"
        );
    }
}
