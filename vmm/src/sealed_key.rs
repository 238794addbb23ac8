//! A disk's key on its way into the VM process: 64 bytes in a memory file of
//! its own, sealed, whose descriptor is passed.
//!
//! So the key is in no configuration, argument, request or log, and gone with
//! the last descriptor. The seals keep whoever else holds one from changing it,
//! and show whoever receives it that reading will not wait: that it is a memory
//! file at all, and neither a pipe nor a file on a stuck disk.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use volume::cipher::key::{Key, SameHalves};
use zeroize::Zeroizing;

/// What a sealed key has: nobody can change it, nor its length, any more.
const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// A descriptor that no key comes out of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// It is something else.
    #[error("it is not in a sealed memory file (memfd_create(2), F_SEAL_WRITE)")]
    NotSealed,
    /// It is no key of AES-256-XTS.
    #[error("it has {0} bytes, and a key has 64")]
    Length(i64),
    /// It is one that may not be.
    #[error(transparent)]
    Weak(#[from] SameHalves),
    /// The system does not give it.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
}

/// Puts `key` into a memory file that nobody can change.
///
/// # Errors
/// The host has no memory or descriptor left.
pub fn seal(key: &Key) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("plinth-key", flags)?;
    // Memory files take all that there is memory for.
    rustix::io::pwrite(&file, key.as_bytes(), 0)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file)
}

/// Takes the key out of what [`seal`] made.
///
/// # Errors
/// It made no such thing.
pub fn unseal(file: OwnedFd) -> Result<Key, BadKey> {
    // What is no memory file has no seals.
    let seals = fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
    if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW) {
        return Err(BadKey::NotSealed);
    }
    let len = fstat(&file).map_err(io::Error::from)?.st_size;
    if usize::try_from(len) != Ok(Key::LEN) {
        return Err(BadKey::Length(len));
    }
    let mut bytes = Zeroizing::new([0; Key::LEN]);
    rustix::io::pread(&file, &mut bytes[..], 0).map_err(io::Error::from)?;
    Ok(Key::new(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory_file(bytes: &[u8], seals: SealFlags) -> OwnedFd {
        let file = memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::io::pwrite(&file, bytes, 0).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    }

    #[test]
    fn a_key_comes_out_as_it_went_in_and_cannot_be_changed_between() {
        let key = Key::random().unwrap();
        let sealed = seal(&key).unwrap();
        assert!(rustix::io::pwrite(&sealed, &[0], 0).is_err());
        assert!(rustix::fs::ftruncate(&sealed, 0).is_err());
        assert_eq!(unseal(sealed).unwrap(), key);
    }

    #[test]
    fn what_is_no_sealed_key_is_refused() {
        let random = Key::random().unwrap();
        let bytes = random.as_bytes();
        let partly = SealFlags::SHRINK | SealFlags::GROW;
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        for other in [
            pipe,
            tempfile::tempfile().unwrap().into(),
            memory_file(bytes, partly),
        ] {
            assert!(matches!(unseal(other), Err(BadKey::NotSealed)));
        }
        for wrong in [&bytes[..63], &[], &[0; 65][..]] {
            let error = unseal(memory_file(wrong, SEALS)).unwrap_err();
            assert!(matches!(error, BadKey::Length(_)), "{error}");
        }
        let weak = unseal(memory_file(&[7; 64], SEALS)).unwrap_err();
        assert!(matches!(weak, BadKey::Weak(_)), "{weak}");
    }
}
