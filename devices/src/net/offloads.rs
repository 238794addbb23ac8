//! Offloads: work on packets that one side leaves to the other.
//!
//! A port says which it can carry; from these follow the features that the
//! device offers, in both directions. What the driver accepted for packets
//! that it receives is then set on the port.

use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6,
    VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_USO,
};

/// A set of offloads. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums may be left to be computed. All others need this one.
    pub checksum: bool,
    /// TCP over IPv4 in packets larger than the MTU.
    pub tso4: bool,
    /// TCP over IPv6 in packets larger than the MTU.
    pub tso6: bool,
    /// Explicit congestion notification in such TCP packets.
    pub ecn: bool,
    /// UDP, over IPv4 and IPv6, in packets larger than the MTU.
    pub uso: bool,
}

impl Offloads {
    /// Every offload.
    pub const ALL: Self = Self {
        checksum: true,
        tso4: true,
        tso6: true,
        ecn: true,
        uso: true,
    };

    /// The feature bits to offer for a port that can carry these.
    pub fn features(self) -> u64 {
        [
            (self.checksum, VIRTIO_NET_F_CSUM),
            (self.checksum, VIRTIO_NET_F_GUEST_CSUM),
            (self.tso4, VIRTIO_NET_F_HOST_TSO4),
            (self.tso4, VIRTIO_NET_F_GUEST_TSO4),
            (self.tso6, VIRTIO_NET_F_HOST_TSO6),
            (self.tso6, VIRTIO_NET_F_GUEST_TSO6),
            (self.ecn, VIRTIO_NET_F_HOST_ECN),
            (self.ecn, VIRTIO_NET_F_GUEST_ECN),
            (self.uso, VIRTIO_NET_F_HOST_USO),
            (self.uso, VIRTIO_NET_F_GUEST_USO4),
            (self.uso, VIRTIO_NET_F_GUEST_USO6),
        ]
        .iter()
        .filter(|(carried, _)| *carried)
        .fold(0, |features, (_, bit)| features | 1 << bit)
    }

    /// What a driver that accepted `features` wants on packets it receives.
    /// A feature without those that it requires (§5.1.3.1) counts for
    /// nothing, and so does UDP segmentation for one IP version only, which
    /// taps do not have.
    pub fn received_with(features: u64) -> Self {
        let has = |bit: u32| features & (1 << bit) != 0;
        let checksum = has(VIRTIO_NET_F_GUEST_CSUM);
        let tso4 = checksum && has(VIRTIO_NET_F_GUEST_TSO4);
        let tso6 = checksum && has(VIRTIO_NET_F_GUEST_TSO6);
        Self {
            checksum,
            tso4,
            tso6,
            ecn: (tso4 || tso6) && has(VIRTIO_NET_F_GUEST_ECN),
            uso: checksum && has(VIRTIO_NET_F_GUEST_USO4) && has(VIRTIO_NET_F_GUEST_USO6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_accepts_all_gets_all() {
        assert_eq!(
            Offloads::received_with(Offloads::ALL.features()),
            Offloads::ALL
        );
        assert_eq!(Offloads::default().features(), 0);
    }

    #[test]
    fn segmentation_without_checksums_counts_for_nothing() {
        let features = Offloads::ALL.features() & !(1 << VIRTIO_NET_F_GUEST_CSUM);
        assert_eq!(Offloads::received_with(features), Offloads::default());
    }

    #[test]
    fn half_of_udp_segmentation_counts_for_nothing() {
        let features = Offloads::ALL.features() & !(1 << VIRTIO_NET_F_GUEST_USO6);
        assert_eq!(
            Offloads::received_with(features),
            Offloads {
                uso: false,
                ..Offloads::ALL
            }
        );
    }

    #[test]
    fn what_the_port_cannot_carry_is_not_offered() {
        let offered = Offloads {
            uso: false,
            ..Offloads::ALL
        };
        for bit in [
            VIRTIO_NET_F_HOST_USO,
            VIRTIO_NET_F_GUEST_USO4,
            VIRTIO_NET_F_GUEST_USO6,
        ] {
            assert_eq!(offered.features() & (1 << bit), 0, "bit {bit}");
        }
    }
}
