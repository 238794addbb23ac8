#![allow(unsafe_code)] // rustix has no open file description locks.
//! A lock on a whole disk file, against a second writer.
//!
//! It is an open file description lock (fcntl(2), F_OFD_SETLK): it belongs to
//! the open file rather than to the process, goes where the descriptor goes,
//! and ends with its last duplicate. Whoever opens a disk takes it; to learn
//! who holds one is the business of those who know other processes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What the holder of a lock may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read, beside other readers.
    Shared,
    /// Write, alone.
    Exclusive,
}

/// Why a disk cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds a lock that excludes this one.
    #[error("the disk is in use")]
    InUse,
    /// The file system refused, or the descriptor lacks the access.
    #[error("the disk cannot be locked")]
    Os(#[source] io::Error),
}

/// Locks all of `file`, without waiting. Locking again changes the access.
///
/// # Errors
/// The disk is in use, or cannot be locked.
pub fn lock(file: &File, access: Access) -> Result<(), LockError> {
    let range = whole(match access {
        Access::Shared => libc::F_RDLCK,
        Access::Exclusive => libc::F_WRLCK,
    });
    // SAFETY: the descriptor is open, and the call reads `range` only.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const range) };
    if outcome == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => LockError::InUse,
        _ => LockError::Os(error),
    })
}

/// Whether others hold a lock on `file`, of either kind. Takes none: who tries
/// to lock it at the same time is not disturbed.
///
/// # Errors
/// The file system has no locks.
pub fn is_locked(file: &File) -> io::Result<bool> {
    let mut range = whole(libc::F_WRLCK);
    // SAFETY: the descriptor is open, and the call writes `range` only.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut range) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::c_int::from(range.l_type) != libc::F_UNLCK)
}

/// From 0 for 0 bytes: to the end, wherever that moves.
fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind.try_into().expect("lock types are small"),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened_twice() -> (File, File) {
        let file = tempfile::NamedTempFile::new().unwrap();
        (file.reopen().unwrap(), file.reopen().unwrap())
    }

    #[test]
    fn a_writer_excludes_everybody_until_its_file_is_closed() {
        let (a, b) = opened_twice();
        lock(&a, Access::Exclusive).unwrap();
        let duplicate = a.try_clone().unwrap();
        for access in [Access::Shared, Access::Exclusive] {
            assert!(matches!(lock(&b, access), Err(LockError::InUse)));
        }
        drop(a);
        assert!(matches!(lock(&b, Access::Shared), Err(LockError::InUse)));
        drop(duplicate);
        lock(&b, Access::Exclusive).unwrap();
    }

    #[test]
    fn readers_share_and_exclude_writers() {
        let (a, b) = opened_twice();
        lock(&a, Access::Shared).unwrap();
        lock(&b, Access::Shared).unwrap();
        assert!(matches!(lock(&b, Access::Exclusive), Err(LockError::InUse)));
    }

    #[test]
    fn asking_for_a_lock_takes_none_and_sees_those_of_others() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (path.reopen().unwrap(), File::open(path.path()).unwrap());
        assert!(!is_locked(&b).unwrap());
        for access in [Access::Exclusive, Access::Shared] {
            lock(&a, access).unwrap();
            assert!(is_locked(&b).unwrap());
            assert!(!is_locked(&a).unwrap());
        }
    }

    #[test]
    fn a_reader_cannot_lock_for_writing() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(path.path()).unwrap();
        assert!(matches!(
            lock(&file, Access::Exclusive),
            Err(LockError::Os(_))
        ));
    }
}
