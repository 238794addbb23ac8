//! An io_uring that can do nothing but disk operations on one file.
//!
//! It is made while the device is built, before any guest runs. The kernel
//! holds it to these operations on the registered descriptor: whoever takes
//! over the process cannot use it to get around a system call filter.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::register::Restriction;
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::backing::Backing;

/// Operations in flight at a time: as many as the largest queue holds.
pub(super) const DEPTH: u16 = 256;

/// The registered descriptor's index.
pub(super) const FILE: types::Fixed = types::Fixed(0);

/// `IORING_UNREGISTER_FILES` (io_uring_register(2)).
const UNREGISTER_FILES: u8 = 3;

/// A ring, restricted to one file, and the eventfd of its completions.
pub(super) struct Ring {
    pub(super) ring: IoUring,
    pub(super) ready: EventFd,
}

impl Ring {
    /// # Errors
    /// The kernel has no io_uring, or not for us, or it is too old to
    /// restrict it (before 5.10).
    pub(super) fn new(backing: &Backing) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_r_disabled()
            .build(u32::from(DEPTH))?;
        let ready = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        let submitter = ring.submitter();
        submitter.register_files(&[backing.as_raw_fd()])?;
        submitter.register_eventfd(ready.as_raw_fd())?;
        submitter.register_restrictions(&mut [
            Restriction::sqe_op(opcode::Readv::CODE),
            Restriction::sqe_op(opcode::Writev::CODE),
            Restriction::sqe_op(opcode::Fsync::CODE),
            Restriction::sqe_op(opcode::Fallocate::CODE),
            Restriction::sqe_flags_allowed(Flags::FIXED_FILE.bits()),
            Restriction::sqe_flags_required(Flags::FIXED_FILE.bits()),
            Restriction::register_op(UNREGISTER_FILES),
        ])?;
        submitter.register_enable_rings()?;
        Ok(Self { ring, ready })
    }
}

#[cfg(test)]
#[allow(unsafe_code)] // Submissions of all kinds, to see them refused.
mod tests {
    use super::*;
    use io_uring::squeue::Entry;

    fn outcome(ring: &mut IoUring, entry: &Entry) -> i32 {
        // SAFETY: none of the entries tried here points to memory.
        unsafe { ring.submission().push(entry) }.unwrap();
        ring.submit_and_wait(1).unwrap();
        ring.completion().next().unwrap().result()
    }

    #[test]
    fn the_ring_does_nothing_but_disk_operations_on_its_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(512).unwrap();
        let backing = Backing::new(file, false, false).unwrap();
        let mut ring = Ring::new(&backing).expect("this host has io_uring");
        let ring = &mut ring.ring;
        let nop = opcode::Nop::new().build().flags(Flags::FIXED_FILE);
        assert_eq!(outcome(ring, &nop), -libc::EACCES);
        let other = opcode::Fsync::new(types::Fd(backing.as_raw_fd())).build();
        assert_eq!(outcome(ring, &other), -libc::EACCES);
        assert_eq!(outcome(ring, &opcode::Fsync::new(FILE).build()), 0);
        let registered = ring.submitter().register_files_update(0, &[0]);
        assert!(registered.is_err(), "the file cannot be exchanged");
    }
}
