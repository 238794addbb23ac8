//! Landlock: can the VM process lock itself out of the file system?

// One system call without a wrapper.
#![allow(unsafe_code)]

use std::io;

use rustix::io::Errno;

use super::finding::Finding;

const NAME: &str = "landlock";

/// LANDLOCK_CREATE_RULESET_VERSION (linux/landlock.h).
const VERSION: libc::c_uint = 1;

/// Probes Landlock by asking for its ABI version.
pub fn probe() -> Finding {
    // SAFETY: with this flag and no attributes the call only returns a number
    // (Documentation/userspace-api/landlock.rst).
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            VERSION,
        )
    };
    let seen = match u32::try_from(abi) {
        Ok(abi) => Ok(abi),
        Err(_) => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOSYS)),
    };
    judge(seen)
}

fn judge(abi: Result<u32, Errno>) -> Finding {
    match abi {
        Ok(abi) => Finding::ok(NAME, format!("ABI version {abi}")),
        Err(Errno::OPNOTSUPP) => Finding::warn(
            NAME,
            "built into this kernel, but not enabled",
            "adding landlock to lsm= on this host's kernel command line",
        ),
        Err(_) => Finding::warn(
            NAME,
            "this kernel has none",
            "a kernel of 5.13 or later with CONFIG_SECURITY_LANDLOCK",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn disabled_and_absent_are_told_apart() {
        assert_eq!(judge(Ok(4)).level, Level::Ok);
        assert!(
            judge(Err(Errno::OPNOTSUPP))
                .remedy
                .unwrap()
                .contains("lsm=")
        );
        assert!(judge(Err(Errno::NOSYS)).remedy.unwrap().contains("5.13"));
    }
}
