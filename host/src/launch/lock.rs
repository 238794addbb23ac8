//! The lock on a disk's file that keeps a second machine from writing to it.
//!
//! It belongs to the open file description (Linux F_OFD_SETLK), so it goes
//! with the descriptor to the VM process and ends with it, however it ends.

// fcntl's commands for these locks have no safe wrapper.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Locks the whole of `file`, against everybody to write to it, against
/// writers to read it. Does not wait.
///
/// # Errors
/// `WouldBlock` if another description holds a lock that conflicts; others if
/// the file system has no locks.
pub fn lock(file: &File, readonly: bool) -> io::Result<()> {
    let kind = if readonly {
        libc::F_RDLCK
    } else {
        libc::F_WRLCK
    };
    let narrow = |constant| i16::try_from(constant).expect("fcntl's constants are small");
    // From the start (0) to the end, however far that moves (length 0).
    let range = libc::flock {
        l_type: narrow(kind),
        l_whence: narrow(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open and `range` lives through the call, which
    // only reads it.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const range) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_or_many_readers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .open(file.path())
                .unwrap()
        };
        let (first, second) = (open(), open());
        lock(&first, true).unwrap();
        lock(&second, true).unwrap();
        drop(second);
        lock(&first, false).unwrap();
        let error = lock(&open(), true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        lock(&open(), false).unwrap();
    }
}
