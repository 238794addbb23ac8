//! The header in front of every packet (virtio 1.3 §5.1.6.1).
//!
//! It is the kernel's `struct virtio_net_hdr_v1`, so a tap with vnet headers
//! takes and gives it as the driver does, and most of it passes through
//! unread: the kernel vets what a guest asks for. Only the receive side
//! writes to it.

/// Bytes in a header. Without `VIRTIO_NET_F_MRG_RXBUF` it is as long
/// (§5.1.6.1, version 1).
pub const SIZE: usize = 12;

/// The most bytes of one frame: an Ethernet header with a VLAN tag before
/// 64 KiB, which segmentation offload may fill.
pub const LARGEST_FRAME: usize = 14 + 4 + (64 << 10);

/// The most bytes of one packet, header included.
pub const LARGEST_PACKET: usize = SIZE + LARGEST_FRAME;

/// Where `num_buffers` lies, which no tap fills in.
pub const NUM_BUFFERS: usize = 10;

/// The header of a packet in `num_buffers` buffers that asks nothing of the
/// driver: what it gets if it did not accept `VIRTIO_NET_F_GUEST_CSUM`
/// (§5.1.6.4.1).
pub fn plain(num_buffers: u16) -> [u8; SIZE] {
    let mut header = [0; SIZE];
    header[NUM_BUFFERS..].copy_from_slice(&num_buffers.to_le_bytes());
    header
}
