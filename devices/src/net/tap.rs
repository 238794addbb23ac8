//! A tap: an Ethernet interface of the host whose other end is a descriptor, or
//! several, each a queue of it.
//!
//! Made from an open descriptor: this process opens nothing.
//! [`tap_open`](super::tap_open) is how others come by one. While the tap's
//! interface is down it takes no packets; those are counted as lost.
//!
//! The kernel spreads packets over the queues by flow, and answers through the
//! queue that a flow came from. A queue that is not in use is detached, for the
//! kernel does not know that nobody reads it; it stays open, and costs nothing.
//! Detaching has the kernel wait for those that just use the queue, some
//! milliseconds at most, the only time that a worker of this device may wait.
//! A driver asks for it when it comes up or is told to use fewer CPUs; one that
//! asks all the time keeps its own I/O threads waiting.

use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::{
    IFF_ATTACH_QUEUE, IFF_DETACH_QUEUE, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR,
    TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6,
};

use super::header;
use super::offloads::Offloads;
use super::packet_fd::PacketFd;
use super::port::{Port, Sent};
use super::posted::Posted;
use super::tap_ioctl;
use crate::virtio::buffers::Buffers;

/// A queue of a tap that carries vnet headers.
#[derive(Debug)]
pub struct Tap {
    packets: PacketFd,
    name: String,
    offloads: Offloads,
    /// It is one of several queues of its interface, or may be.
    multi_queue: bool,
    /// The kernel knows of the queue.
    attached: bool,
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
    /// Several descriptors are not queues of one interface.
    #[error(
        "the descriptors of interfaces {first} and {other} are not queues of one tap: \
         each needs IFF_MULTI_QUEUE, and all the same interface"
    )]
    NotOneTap {
        /// The first descriptor's interface.
        first: String,
        /// Another's.
        other: String,
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
    flag(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
}

/// The same for each of several queues.
pub(super) fn multi_queue_mode() -> u16 {
    mode() | flag(IFF_MULTI_QUEUE)
}

pub(super) fn flag(bits: c_int) -> u16 {
    u16::try_from(bits).expect("interface flags are 16 bits")
}

impl Tap {
    /// The queues of a tap, one on each of `fds`.
    ///
    /// # Errors
    /// One of the descriptors is no such thing.
    pub fn from_fds(fds: Vec<OwnedFd>) -> Result<Vec<Self>, TapError> {
        let queues: Vec<Self> = fds
            .into_iter()
            .map(Self::from_fd)
            .collect::<Result<_, _>>()?;
        if let [first, others @ ..] = &queues[..] {
            let is_apart = |other: &&Self| !first.multi_queue || other.name != first.name;
            if let Some(other) = others.iter().find(is_apart) {
                return Err(TapError::NotOneTap {
                    first: first.name.clone(),
                    other: other.name.clone(),
                });
            }
        }
        Ok(queues)
    }

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
        let multi_queue = interface.flags & flag(IFF_MULTI_QUEUE) != 0;
        match Self::set_up(fd) {
            Ok((packets, offloads)) => Ok(Self {
                packets,
                name,
                offloads,
                multi_queue,
                attached: true,
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

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
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

    fn set_in_use(&mut self, in_use: bool) -> io::Result<()> {
        if in_use != self.attached {
            let change = if in_use {
                IFF_ATTACH_QUEUE
            } else {
                IFF_DETACH_QUEUE
            };
            tap_ioctl::set_queue(&self.packets, flag(change))?;
            self.attached = in_use;
        }
        Ok(())
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
