//! Making a tap, for those who run a switch: the interface is new, and stays as
//! long as one of its descriptors is open, unless it is given to a user.

use std::os::fd::OwnedFd;

use libc::IFF_TUN_EXCL;
use rustix::io::Errno;

use super::tap;
use super::tap_ioctl;
use super::tap_open::{TapOpenError, attach, is_interface_name, open_driver, other};
use crate::virtio::queue_count::QueueCount;

/// Makes the tap `name` in the calling thread's network namespace, and opens
/// `queues` queues of it, one on each of the descriptors.
///
/// With an `owner`, the tap is that user's to open, and there until it is
/// deleted; without, it goes with the last descriptor. Half of it is never left
/// behind.
///
/// # Errors
/// [`TapOpenError::Exists`]: there is an interface of this name.
/// [`TapOpenError::NotPermitted`]: making one takes CAP_NET_ADMIN.
pub fn create_tap(
    name: &str,
    queues: QueueCount,
    owner: Option<u32>,
) -> Result<Vec<OwnedFd>, TapOpenError> {
    if !is_interface_name(name) {
        return Err(TapOpenError::BadName { name: name.into() });
    }
    let several = queues.get() > 1;
    let fds: Vec<OwnedFd> = (0..queues.get())
        .map(|queue| {
            let fd = open_driver(name)?;
            // Only the first makes it.
            let more = if queue == 0 {
                tap::flag(IFF_TUN_EXCL)
            } else {
                0
            };
            attach(&fd, name, several, more).map_err(|errno| refusal(name, errno))?;
            Ok(fd)
        })
        .collect::<Result<_, _>>()?;
    if let (Some(owner), Some(fd)) = (owner, fds.first()) {
        tap_ioctl::set_owner(fd, owner).map_err(|errno| other(name, errno))?;
        tap_ioctl::set_persistent(fd).map_err(|errno| other(name, errno))?;
    }
    Ok(fds)
}

fn refusal(name: &str, errno: Errno) -> TapOpenError {
    let name = name.to_owned();
    match errno {
        // What IFF_TUN_EXCL says of a tap, and the kernel of anything else.
        Errno::BUSY | Errno::INVAL => TapOpenError::Exists { name },
        Errno::PERM => TapOpenError::NotPermitted { name },
        errno => other(&name, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_interface_can_be_called_is_refused() {
        for name in ["", "a/b", "tap%d", "sixteen-bytes-aa"] {
            let error = create_tap(name, QueueCount::default(), None).unwrap_err();
            assert!(matches!(error, TapOpenError::BadName { .. }), "{name:?}");
        }
    }

    #[test]
    fn the_kernels_refusals_are_told_apart() {
        for (errno, expected) in [
            (Errno::BUSY, "already"),
            (Errno::INVAL, "already"),
            (Errno::PERM, "may not be used"),
            (Errno::NOMEM, "cannot be opened"),
        ] {
            let message = refusal("tap0", errno).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
