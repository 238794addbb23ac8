//! userfaultfd: may guest memory be filled while the guest already runs?
//!
//! KVM touches guest memory in the kernel, so the kind that handles only
//! faults from user mode is not enough.

// One system call without a safe wrapper.
#![allow(unsafe_code)]

use std::fs::OpenOptions;

use rustix::io::Errno;
use rustix::mm::{UserfaultfdFlags, userfaultfd};

use super::finding::Finding;

const NAME: &str = "userfaultfd";

/// Probes userfaultfd by making one.
pub fn probe() -> Finding {
    // SAFETY: nothing is registered with the descriptor, which is closed at
    // once; no memory is affected.
    let call = unsafe { userfaultfd(UserfaultfdFlags::CLOEXEC) }.map(drop);
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/userfaultfd");
    judge(call, device.is_ok())
}

fn judge(call: Result<(), Errno>, device: bool) -> Finding {
    match call {
        Ok(()) => Finding::ok(NAME, "usable"),
        Err(_) if device => Finding::ok(NAME, "usable through /dev/userfaultfd"),
        Err(Errno::NOSYS) => Finding::warn(
            NAME,
            "this kernel has none: memory cannot be restored lazily",
            "a kernel with CONFIG_USERFAULTFD",
        ),
        Err(error) => Finding::warn(
            NAME,
            format!("not for this user ({error}): memory cannot be restored lazily"),
            "access to /dev/userfaultfd, or sudo sysctl vm.unprivileged_userfaultfd=1",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn the_call_or_the_device_is_enough() {
        assert_eq!(judge(Ok(()), false).level, Level::Ok);
        assert_eq!(judge(Err(Errno::PERM), true).level, Level::Ok);
        let finding = judge(Err(Errno::PERM), false);
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.remedy.unwrap().contains("unprivileged_userfaultfd"));
        assert_eq!(judge(Err(Errno::NOSYS), false).level, Level::Warn);
    }
}
