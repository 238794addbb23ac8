//! How the machine ends: called last by `boot`, after the job. Written data
//! reaches the disks first, except for a panic, which is meant to be abrupt, and
//! network interfaces are down: Linux 6.1.192 and others that break virtio devices when
//! they shut down spin for ever if a packet is sent meanwhile (mended by its commit
//! 0d0eff39ceb3, "virtio_ring: fix infinite loop in virtnet_poll_cleantx when device is
//! broken").

use rustix::fs::sync;
use rustix::system::{RebootCommand, reboot};

use crate::console::say;
use crate::interface::disable_all;

/// Syncs, then ends the machine this way; comes back only if the kernel
/// refuses.
pub(crate) fn end(command: RebootCommand) {
    sync();
    if let Err(error) = disable_all() {
        say(format_args!("a network interface stays up: {error}"));
    }
    if let Err(error) = reboot(command) {
        say(format_args!("the kernel refuses {command:?}: {error}"));
    }
}
