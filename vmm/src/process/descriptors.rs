//! Room for descriptors.

use std::os::fd::AsFd;

use rustix::io::fcntl_dupfd_cloexec;

/// More than most machines have.
const ROOM: i32 = 1024;

/// Has the kernel make room for all descriptors that a machine may need, from one that
/// is open. Later, with threads, it would wait for RCU whenever there are twice or four
/// times as many as before, about ten milliseconds (Linux: `expand_fdtable`): while the
/// machine starts, or gets a device.
///
/// Where fewer are allowed, nothing is done, and it waits when it has to.
pub fn make_room(open: impl AsFd) {
    // It is closed again; the room stays.
    let _ = fcntl_dupfd_cloexec(open, ROOM - 1);
}
