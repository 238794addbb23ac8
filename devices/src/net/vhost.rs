//! A tap whose packets the host's kernel carries by itself, between the driver's
//! queues and the tap: vhost-net (linux/vhost.h).
//!
//! The driver's notifications go to a thread of the kernel's, and what that signals goes
//! to the guest; no I/O thread of ours is woken. So there is nothing that counts or
//! limits these packets but the tap. Where it cannot be so, since the guest takes no
//! interrupts by messages or wants less than Linux does, the tap is a
//! [port](super::port) like any other.
//!
//! The kernel writes to guest memory on behalf of this process, for as long as it serves
//! the queues; so long a [`VhostTap`] keeps the memory mapped.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use virtio_bindings::virtio_config::{
    VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_net::{VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_MRG_RXBUF};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::offloads::Offloads;
use super::port::{Port, Sent};
use super::posted::Posted;
use super::tap::Tap;
use super::vhost_ioctl::{self as kernel, MAX_REGIONS, NO_FILE, Region, Ring};
use crate::log_limit::LogLimit;
use crate::memory::Ram;
use crate::virtio::buffers::Buffers;
use crate::virtio::queue::{Queue, QueueFault, QueueLayout};

/// The features that change how queues are read and written. All others are between
/// the driver and the tap.
const OF_QUEUES: u64 = 1 << VIRTIO_F_VERSION_1
    | 1 << VIRTIO_F_ACCESS_PLATFORM
    | 1 << VIRTIO_F_RING_PACKED
    | 1 << VIRTIO_F_IN_ORDER
    | 1 << VIRTIO_RING_F_EVENT_IDX
    | 1 << VIRTIO_RING_F_INDIRECT_DESC
    | 1 << VIRTIO_NET_F_MRG_RXBUF;

/// Without these, what is in a packet's header is not what the kernel writes there.
const NEEDED: u64 = 1 << VIRTIO_NET_F_MRG_RXBUF | 1 << VIRTIO_NET_F_GUEST_CSUM;

/// Which of vhost-net's rings is which of a pair's queues, receiving first.
const RINGS: [u32; 2] = [0, 1];

/// A queue of a tap, and what of the kernel can serve it.
#[derive(Debug)]
pub struct VhostTap {
    tap: Tap,
    vhost: OwnedFd,
    features: u64,
    /// Signalled where the driver wants an interrupt of a queue.
    calls: [EventFd; 2],
    /// Signalled when a ring makes no sense.
    error: EventFd,
    /// The memory that the queues are in, which stays mapped while the kernel has them.
    serving: Option<Ram>,
    /// Packets are to come here.
    in_use: bool,
    refusals: LogLimit,
}

/// Why a descriptor cannot serve a tap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VhostError {
    /// It is something else.
    #[error("the descriptor is not one of /dev/vhost-net")]
    NotVhost(#[source] io::Error),
    /// The kernel or the process has no room for another.
    #[error("vhost-net cannot be set up")]
    SetUp(#[from] io::Error),
}

impl VhostTap {
    /// Has `vhost`, fresh from /dev/vhost-net, serve `tap`.
    ///
    /// # Errors
    /// It is no such descriptor, or the kernel refuses it.
    pub fn new(tap: Tap, vhost: OwnedFd) -> Result<Self, VhostError> {
        let features = kernel::features(&vhost).map_err(|e| VhostError::NotVhost(e.into()))?;
        kernel::set_owner(&vhost).map_err(io::Error::from)?;
        let eventfd = || EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        Ok(Self {
            tap,
            vhost,
            features,
            calls: [eventfd()?, eventfd()?],
            error: eventfd()?,
            serving: None,
            in_use: true,
            refusals: LogLimit::default(),
        })
    }

    /// Tells the kernel all of `queues`, and serves them not yet.
    fn prepare(&mut self, queues: [&Queue; 2], features: u64) -> io::Result<()> {
        let used = features & OF_QUEUES;
        if features & NEEDED != NEEDED || used & !self.features != 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let ram = queues[0].ram();
        kernel::set_features(&self.vhost, used)?;
        kernel::set_memory(&self.vhost, &regions(ram)?)?;
        for ((ring, queue), call) in RINGS.into_iter().zip(queues).zip(&self.calls) {
            self.set_up(ring, queue, call)?;
            queue.wire(call)?;
        }
        self.serving = Some(ram.clone());
        Ok(())
    }

    fn set_up(&self, ring: u32, queue: &Queue, call: &EventFd) -> io::Result<()> {
        let layout = queue.layout();
        kernel::set_size(&self.vhost, ring, layout.size.into())?;
        kernel::set_base(&self.vhost, ring, layout.next_available.into())?;
        kernel::set_ring(&self.vhost, addresses(ring, &layout, queue.ram())?)?;
        kernel::set_kick(&self.vhost, ring, queue.kick_fd())?;
        kernel::set_call(&self.vhost, ring, call.as_raw_fd())?;
        kernel::set_error(&self.vhost, ring, self.error.as_raw_fd())?;
        Ok(())
    }

    /// Has the kernel serve the queues that it knows, if packets are to come here.
    fn serve(&self) -> io::Result<()> {
        if self.in_use && self.serving.is_some() {
            for ring in RINGS {
                kernel::set_backend(&self.vhost, ring, Some(self.tap.as_fd()))?;
            }
        }
        Ok(())
    }

    /// Has it leave them alone: all that it began is finished.
    fn leave(&self) -> io::Result<()> {
        let left = RINGS.map(|ring| kernel::set_backend(&self.vhost, ring, None));
        left.into_iter().try_for_each(|left| Ok(left?))
    }

    /// Ends what is between the kernel and `queues` besides.
    fn release(&mut self, queues: [&Queue; 2]) {
        for ((ring, queue), call) in RINGS.into_iter().zip(queues).zip(&self.calls) {
            // What it knew none of is not to be taken away.
            let _ = kernel::set_kick(&self.vhost, ring, NO_FILE);
            queue.unwire();
            // What the guest did not want to be interrupted by yet.
            if call.read().is_ok() {
                queue.interrupt();
            }
        }
        self.serving = None;
    }

    /// How far the kernel has worked off a ring.
    fn position(&self, ring: u32) -> io::Result<u16> {
        let base = kernel::base(&self.vhost, ring)?;
        // It counts as rings do, in 16 bits.
        u16::try_from(base & 0xffff).map_err(io::Error::other)
    }
}

impl Drop for VhostTap {
    /// Also if the queues were never handed back: what they are in may go next. The
    /// kernel has no more of this process then, whoever else holds the descriptor.
    fn drop(&mut self) {
        let _ = self.leave();
        let _ = kernel::reset_owner(&self.vhost);
    }
}

/// Guest memory, for the kernel.
fn regions(ram: &Ram) -> io::Result<Vec<Region>> {
    if ram.num_regions() > MAX_REGIONS {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let region = |region: &vm_memory::GuestRegionMmap<()>| {
        let guest = region.start_addr().0;
        Ok(Region {
            guest,
            len: region.len(),
            host: host(ram, guest, 1)?,
            flags: 0,
        })
    };
    ram.iter().map(region).collect()
}

/// Where a queue's parts are in this process.
fn addresses(index: u32, layout: &QueueLayout, ram: &Ram) -> io::Result<Ring> {
    let [descriptors, available, used] = layout.areas();
    let host = |(address, len)| host(ram, address, len);
    Ok(Ring {
        index,
        flags: 0,
        descriptors: host(descriptors)?,
        used: host(used)?,
        available: host(available)?,
        log: 0,
    })
}

/// Where `len` bytes at the guest's `address` are in this process, in one piece.
fn host(ram: &Ram, address: u64, len: usize) -> io::Result<u64> {
    let mut pieces = Vec::new();
    ram.pieces(address, len, |piece, _| pieces.push(piece.addr()))
        .map_err(io::Error::other)?;
    match pieces[..] {
        [piece] => u64::try_from(piece).map_err(io::Error::other),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl Port for VhostTap {
    fn arrivals(&self) -> BorrowedFd<'_> {
        self.tap.arrivals()
    }

    fn wakers(&self) -> Vec<RawFd> {
        vec![self.error.as_raw_fd()]
    }

    fn set_in_use(&mut self, in_use: bool) -> io::Result<()> {
        // Of rings that it does not know it refuses even that.
        if !in_use && self.serving.is_some() {
            self.leave()?;
        }
        self.tap.set_in_use(in_use)?;
        self.in_use = in_use;
        self.serve()
    }

    fn offloads(&self) -> Offloads {
        self.tap.offloads()
    }

    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        self.tap.set_offloads(offloads)
    }

    fn send(&mut self, packet: &Buffers) -> io::Result<Sent> {
        self.tap.send(packet)
    }

    fn receive(&mut self, posted: &mut Posted) -> io::Result<usize> {
        self.tap.receive(posted)
    }

    fn take_over(&mut self, queues: [&mut Queue; 2], features: u64) -> bool {
        // Of an earlier driver's queues.
        let _ = self.error.read();
        let prepared = self.prepare([&*queues[0], &*queues[1]], features);
        let served = match prepared {
            Ok(()) => self.serve().inspect_err(|_| {
                // One of the two may have been served for a moment.
                self.hand_back(queues);
            }),
            Err(error) => {
                self.release([&*queues[0], &*queues[1]]);
                Err(error)
            }
        };
        let Err(error) = served else {
            return true;
        };
        self.refusals.warn(|| {
            format!(
                "vhost-net cannot serve a network interface as its driver has set it up, and \
                 packets go by way of this process: {error}"
            )
        });
        false
    }

    fn hand_back(&mut self, queues: [&mut Queue; 2]) {
        let left = self.leave();
        self.release([&*queues[0], &*queues[1]]);
        for (ring, queue) in RINGS.into_iter().zip(queues) {
            match (&left, self.position(ring)) {
                (Ok(()), Ok(next)) => queue.go_on_at(next),
                _ => queue.needs_reset(QueueFault::Ring),
            }
        }
    }
}
