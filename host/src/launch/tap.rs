//! Attaching to a tap: an Ethernet cable whose other end is a network
//! interface of the host's (Documentation/networking/tuntap.rst).

// The ioctl that attaches has no safe wrapper.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use rustix::io::Errno;

use crate::error::Error;
use crate::option::net::TapName;

use super::holder;

/// Attaches to the tap `name`, with virtio-net headers before its frames.
/// The descriptor is non-blocking.
///
/// # Errors
/// There is no such interface, it is no tap, it is in use or belongs to
/// somebody else, or the host has no taps.
pub fn open(name: &TapName) -> Result<File, Error> {
    let flags = kind(name)?;
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(|error| {
            Error::host("/dev/net/tun cannot be opened")
                .because(error)
                .remedy("sudo modprobe tun, and permission to read and write it")
        })?;
    attach(&tap, name, flags).map_err(|error| refused(name, error))?;
    Ok(tap)
}

/// How to attach to `name`. Asked first, because attaching to an interface
/// that does not exist would make one.
fn kind(name: &TapName) -> Result<i32, Error> {
    let directory = format!("/sys/class/net/{name}");
    if fs::symlink_metadata(&directory).is_err() {
        return Err(Error::configuration(format!("tap '{name}' does not exist")).remedy(format!(
            "making it: sudo ip tuntap add dev {name} mode tap user $USER && sudo ip link set {name} up"
        )));
    }
    let text = fs::read_to_string(format!("{directory}/tun_flags")).unwrap_or_default();
    let flags = flags_of(&text);
    if flags & libc::IFF_TAP == 0 {
        return Err(
            Error::configuration(format!("network interface '{name}' is not a tap"))
                .remedy("the name of a tap: ip tuntap list"),
        );
    }
    // A tap made for several queues refuses to be attached as a single one.
    let queues = flags & libc::IFF_MULTI_QUEUE;
    Ok(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | queues)
}

/// The number in an interface's `tun_flags` file, such as `0x5002`.
fn flags_of(text: &str) -> i32 {
    let digits = text.trim().trim_start_matches("0x");
    i32::from_str_radix(digits, 16).unwrap_or(0)
}

fn attach(tap: &File, name: &TapName, flags: i32) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: i16::from_ne_bytes(
                u16::try_from(flags)
                    .map_err(io::Error::other)?
                    .to_ne_bytes(),
            ),
        },
    };
    // A name has 15 bytes at most: a zero stays behind it.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes an
    // `ifreq`, which lives through the call.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn refused(name: &TapName, error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(Errno::BUSY) => Error::configuration(format!(
            "tap '{name}' is in use {}",
            holder::by(holder::of_tap(name.as_str()))
        ))
        .remedy("ending that process, or another tap"),
        Some(Errno::PERM) => {
            Error::configuration(format!("tap '{name}' belongs to another user")).remedy(format!(
                "making it yours: sudo ip tuntap del dev {name} mode tap && sudo ip tuntap add dev {name} mode tap user $USER"
            ))
        }
        _ => Error::configuration(format!("tap '{name}' cannot be attached to")).because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitStatus;

    #[test]
    fn the_flags_of_a_tap_are_read() {
        assert_eq!(flags_of("0x5002\n"), 0x5002);
        assert_eq!(flags_of(""), 0);
        assert_eq!(flags_of("nonsense"), 0);
    }

    #[test]
    fn each_obstacle_has_its_message() {
        let name: TapName = "tap0".parse().unwrap();
        for (errno, message) in [
            (Errno::BUSY, "tap 'tap0' is in use by a process"),
            (Errno::PERM, "tap 'tap0' belongs to another user"),
            (Errno::INVAL, "tap 'tap0' cannot be attached to: "),
        ] {
            let error = refused(&name, errno.into());
            assert_eq!(error.exit_status(), ExitStatus::Configuration);
            assert!(error.report().starts_with(message), "{}", error.report());
        }
    }
}
