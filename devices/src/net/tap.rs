//! A tap: an Ethernet interface of the host whose other end is a descriptor.
//!
//! Made from an open descriptor: this process opens nothing.
//! [`tap_open`](super::tap_open) is how others come by one. While the tap's
//! interface is down it takes no packets; those are counted as lost.

use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::{
    IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6,
    TUN_F_USO4, TUN_F_USO6,
};

use super::header;
use super::offloads::Offloads;
use super::packet_fd::PacketFd;
use super::port::{Port, Sent};
use super::posted::Posted;
use super::tap_ioctl;
use crate::virtio::buffers::Buffers;

/// A tap that carries vnet headers.
#[derive(Debug)]
pub struct Tap {
    packets: PacketFd,
    name: String,
    offloads: Offloads,
}

/// Why a descriptor cannot serve as a tap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapError {
    /// It is something else, or not attached to an interface.
    #[error("the descriptor is not attached to a tap interface")]
    NotATap(#[source] io::Error),
    /// It was opened in another mode.
    #[error(
        "the descriptor of interface {name} is in the wrong mode: \
         it needs IFF_TAP, IFF_NO_PI and IFF_VNET_HDR"
    )]
    WrongMode {
        /// The interface.
        name: String,
    },
    /// The kernel refused to set the tap up.
    #[error("tap {name} cannot be set up")]
    SetUp {
        /// The interface.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How a tap's descriptor must be opened: Ethernet frames, no packet
/// information but a vnet header in front.
pub(super) fn mode() -> u16 {
    u16::try_from(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR).expect("interface flags are 16 bits")
}

impl Tap {
    /// A tap on `fd`, which is attached to a tap interface, with one queue
    /// and vnet headers. No offload is in use at first.
    ///
    /// # Errors
    /// The descriptor is no such thing.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, TapError> {
        let interface = tap_ioctl::interface(&fd).map_err(|e| TapError::NotATap(e.into()))?;
        let name = interface.name();
        // The kernel adds flags of its own, such as IFF_PERSIST and NAPI.
        if interface.flags & mode() != mode() {
            return Err(TapError::WrongMode { name });
        }
        match Self::set_up(fd) {
            Ok((packets, offloads)) => Ok(Self {
                packets,
                name,
                offloads,
            }),
            Err(source) => Err(TapError::SetUp { name, source }),
        }
    }

    fn set_up(fd: OwnedFd) -> io::Result<(PacketFd, Offloads)> {
        let size = c_int::try_from(header::SIZE).expect("the header is short");
        tap_ioctl::set_header_size(&fd, size)?;
        let offloads = probe_offloads(&fd)?;
        Ok((PacketFd::new(fd)?, offloads))
    }

    /// The name that the interface had when the tap was made.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Finds out what this kernel's taps can carry: before 6.2 they refuse UDP
/// segmentation. Leaves everything off.
fn probe_offloads(fd: &OwnedFd) -> io::Result<Offloads> {
    let uso = tap_ioctl::set_offloads(fd, flags(Offloads::ALL)).is_ok();
    tap_ioctl::set_offloads(fd, 0)?;
    Ok(Offloads {
        uso,
        ..Offloads::ALL
    })
}

fn flags(offloads: Offloads) -> c_uint {
    [
        (offloads.checksum, TUN_F_CSUM),
        (offloads.tso4, TUN_F_TSO4),
        (offloads.tso6, TUN_F_TSO6),
        (offloads.ecn, TUN_F_TSO_ECN),
        (offloads.uso, TUN_F_USO4 | TUN_F_USO6),
    ]
    .iter()
    .filter(|(wanted, _)| *wanted)
    .fold(0, |flags, (_, bits)| flags | bits)
}

impl Port for Tap {
    fn arrivals(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        Ok(tap_ioctl::set_offloads(&self.packets, flags(offloads))?)
    }

    fn send(&mut self, packet: &Buffers) -> io::Result<Sent> {
        self.packets.send(packet).map(|()| Sent::Gone)
    }

    fn receive(&mut self, posted: &mut Posted) -> io::Result<usize> {
        self.packets.receive(posted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_of_something_else_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = Tap::from_fd(file.into()).unwrap_err();
        assert!(matches!(error, TapError::NotATap(_)), "{error:?}");
    }
}
