//! How the machine ends: called last by `boot`, after the job. Written data
//! reaches the disks first, except for a panic, which is meant to be abrupt.

use rustix::fs::sync;
use rustix::system::{RebootCommand, reboot};

use crate::console::say;

/// Syncs, then ends the machine this way; comes back only if the kernel
/// refuses.
pub(crate) fn end(command: RebootCommand) {
    sync();
    if let Err(error) = reboot(command) {
        say(format_args!("the kernel refuses {command:?}: {error}"));
    }
}
