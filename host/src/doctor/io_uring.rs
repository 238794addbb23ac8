//! io_uring: does the kernel set up a ring for this user?

use std::fs;
use std::io;

use ::io_uring::IoUring;
use rustix::io::Errno;

use super::finding::Finding;

const NAME: &str = "io_uring";

/// Probes io_uring by setting up a small ring.
pub fn probe() -> Finding {
    let ring = IoUring::new(2).map(drop);
    let setting = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    judge(ring, setting.trim())
}

/// `setting` is the sysctl: 0 allows everybody, 1 a group, 2 nobody
/// (Documentation/admin-guide/sysctl/kernel.rst).
fn judge(ring: io::Result<()>, setting: &str) -> Finding {
    let Err(error) = ring else {
        return Finding::ok(NAME, "usable for disks");
    };
    let remedy = match (Errno::from_io_error(&error), setting) {
        (Some(Errno::NOSYS), _) => "a kernel of 5.10 or later with io_uring built in",
        (_, "1" | "2") => "sudo sysctl kernel.io_uring_disabled=0",
        (Some(Errno::NOMEM), _) => "raising the limit of locked memory: ulimit -l",
        _ => "allowing io_uring_setup in the container's seccomp profile",
    };
    Finding::warn(
        NAME,
        format!("no ring can be set up ({error}): disks use system calls instead"),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_ring_is_ok_and_its_absence_only_a_warning() {
        assert_eq!(judge(Ok(()), "0").level, Level::Ok);
        for (errno, setting, remedy) in [
            (Errno::NOSYS, "", "kernel of 5.10"),
            (Errno::PERM, "2", "sysctl"),
            (Errno::PERM, "0", "seccomp"),
            (Errno::NOMEM, "0", "ulimit"),
        ] {
            let finding = judge(Err(errno.into()), setting);
            assert_eq!(finding.level, Level::Warn);
            assert!(finding.remedy.unwrap().contains(remedy), "{errno:?}");
        }
    }
}
