//! Opening a tap by name, for those who start a machine: the machine's own
//! process is handed the descriptor.
//!
//! The interface must exist. Making interfaces is the business of whoever
//! runs the host's network ([`tap_create`](super::tap_create)), and a misspelt
//! name must not make one.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::tap;
use super::tap_ioctl::{self, Interface, MAX_NAME};
use crate::virtio::queue_count::QueueCount;

const TUN_DEVICE: &str = "/dev/net/tun";

/// Why a tap cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapOpenError {
    /// No interface can have this name.
    #[error("{name:?} is not the name of an interface: 1 to {MAX_NAME} bytes, no slash or space")]
    BadName {
        /// What was asked for.
        name: String,
    },
    /// The host has no such interface.
    #[error("there is no interface {name}; `ip tuntap add {name} mode tap user $USER` makes one")]
    Missing {
        /// What was asked for.
        name: String,
    },
    /// A tap was to be made, and the host has such an interface.
    #[error("there is an interface {name} already")]
    Exists {
        /// What was asked for.
        name: String,
    },
    /// Another process has it open.
    #[error("tap {name} is busy: another process, perhaps another machine, uses it")]
    Busy {
        /// The interface.
        name: String,
    },
    /// The interface belongs to another user.
    #[error(
        "tap {name} may not be used by this user; \
         make it with `ip tuntap add {name} mode tap user $USER`"
    )]
    NotPermitted {
        /// The interface.
        name: String,
    },
    /// The interface is something else.
    #[error("interface {name} is not a tap")]
    NotATap {
        /// The interface.
        name: String,
    },
    /// The tap was made for one queue, and several are asked for.
    #[error(
        "tap {name} has one queue, not {queues}: it was made without multi_queue; \
         make it with `ip tuntap add {name} mode tap multi_queue user $USER`, or use one queue"
    )]
    SingleQueue {
        /// The interface.
        name: String,
        /// How many queues were asked for.
        queues: u16,
    },
    /// The tap was made for several queues, and one is asked for.
    #[error(
        "tap {name} was made for several queues (multi_queue), not one; use two or more, \
         or make it with `ip tuntap add {name} mode tap user $USER`"
    )]
    MultiQueue {
        /// The interface.
        name: String,
    },
    /// The tun driver cannot be reached.
    #[error(
        "{TUN_DEVICE} cannot be opened, which tap {name} needs; \
         `modprobe tun` loads the driver"
    )]
    NoDriver {
        /// The interface.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused for another reason.
    #[error("tap {name} cannot be opened")]
    Other {
        /// The interface.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Opens `queues` queues of the existing tap `name`: the descriptors are what
/// [`Tap::from_fds`](super::tap::Tap::from_fds) takes.
///
/// The kernel lets several processes have queues of one tap, and spreads
/// packets over all of them: that nobody else has one is for the caller to see
/// to, if there are to be several.
///
/// # Errors
/// There is no such tap, it has not as many queues, it is in use, or this user
/// may not use it.
pub fn open_tap(name: &str, queues: QueueCount) -> Result<Vec<OwnedFd>, TapOpenError> {
    if !is_interface_name(name) {
        return Err(TapOpenError::BadName { name: name.into() });
    }
    if !exists(name).map_err(|e| other(name, e))? {
        return Err(TapOpenError::Missing { name: name.into() });
    }
    let several = queues.get() > 1;
    let queue = |_| {
        let fd = open_driver(name)?;
        match attach(&fd, name, several, 0) {
            Ok(()) => Ok(fd),
            // Of another kind, or for another number of queues.
            Err(Errno::INVAL) if !matches!(attach(&fd, name, !several, 0), Err(Errno::INVAL)) => {
                Err(wrong_number(name, queues))
            }
            Err(errno) => Err(refusal(name, errno)),
        }
    };
    (0..queues.get()).map(queue).collect()
}

pub(super) fn open_driver(name: &str) -> Result<OwnedFd, TapOpenError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(TUN_DEVICE, flags, Mode::empty()).map_err(|e| TapOpenError::NoDriver {
        name: name.into(),
        source: e.into(),
    })
}

/// Makes `fd` the tap's end, or one of `several`, with `more` flags.
pub(super) fn attach(fd: &OwnedFd, name: &str, several: bool, more: u16) -> Result<(), Errno> {
    let mode = if several {
        tap::multi_queue_mode()
    } else {
        tap::mode()
    };
    tap_ioctl::attach(fd, &mut Interface::new(name, mode | more))
}

fn wrong_number(name: &str, queues: QueueCount) -> TapOpenError {
    let name = name.into();
    match queues.get() {
        1 => TapOpenError::MultiQueue { name },
        queues => TapOpenError::SingleQueue { name, queues },
    }
}

fn refusal(name: &str, errno: Errno) -> TapOpenError {
    let name = name.into();
    match errno {
        Errno::BUSY => TapOpenError::Busy { name },
        Errno::PERM => TapOpenError::NotPermitted { name },
        Errno::INVAL => TapOpenError::NotATap { name },
        errno => TapOpenError::Other {
            name,
            source: errno.into(),
        },
    }
}

pub(super) fn other(name: &str, errno: Errno) -> TapOpenError {
    TapOpenError::Other {
        name: name.into(),
        source: errno.into(),
    }
}

/// Whether an interface can be called `name`: what the kernel takes for a name
/// (`dev_valid_name`) and the tun driver for one only.
pub fn is_interface_name(name: &str) -> bool {
    let allowed = |byte: u8| byte != b'/' && byte != b':' && byte > b' ';
    (1..=MAX_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(allowed)
        // The tun driver takes this as a pattern to make a name from.
        && !name.contains('%')
}

fn exists(name: &str) -> Result<bool, Errno> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    match name_to_index(&socket, name) {
        Ok(_) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_that_does_not_exist_is_not_made() {
        for _ in 0..2 {
            let error = open_tap("no-such-tap", QueueCount::default()).unwrap_err();
            assert!(matches!(error, TapOpenError::Missing { .. }), "{error:?}");
        }
    }

    #[test]
    fn what_no_interface_can_be_called_is_refused() {
        for name in ["", "..", "a/b", "a b", "tap%d", "sixteen-bytes-aa", "a\0b"] {
            let error = open_tap(name, QueueCount::default()).unwrap_err();
            assert!(matches!(error, TapOpenError::BadName { .. }), "{name:?}");
        }
    }

    #[test]
    fn the_kernels_refusals_are_told_apart() {
        for (errno, expected) in [
            (Errno::BUSY, "busy"),
            (Errno::PERM, "may not be used"),
            (Errno::INVAL, "not a tap"),
            (Errno::NOMEM, "cannot be opened"),
        ] {
            let message = refusal("tap0", errno).to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("tap0"), "{message}");
        }
    }
}
