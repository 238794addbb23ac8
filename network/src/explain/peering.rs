//! What becomes of packets that go by a peering: as far as this network knows. What
//! the other makes of them is explained from its own state.

use super::{Packet, Step, groups, network_acl, route};
use crate::explain::Way;
use crate::name::Name;
use crate::peering::Peering;
use crate::port::Port;
use crate::security_group::Direction;
use crate::vpc::Vpc;

/// From `sender`, by the peering `name`.
pub(super) fn outwards(vpc: &Vpc, sender: &Port, packet: Packet, name: &Name) -> Vec<Step> {
    let peering = &vpc.peerings()[name];
    let carried = vpc.cidr.contains(packet.from) && peering.cidr.contains(packet.to);
    let step = match carried {
        true => Step::Peered {
            name: name.clone(),
            peer: peering.peer_name.clone(),
        },
        false => Step::NotPeered {
            name: name.clone(),
            address: packet.to,
        },
    };
    vec![network_acl::leaving(vpc, &sender.subnet, packet), step]
}

/// The peering by which a packet comes from `packet.from`, if one can.
pub(super) fn comes_by(vpc: &Vpc, packet: Packet) -> Option<(&Name, &Peering)> {
    let mut peerings = vpc.peerings().iter();
    let found = peerings.find(|(_, peering)| peering.cidr.contains(packet.from));
    found.filter(|_| vpc.cidr.contains(packet.to))
}

/// By the peering `name`.
pub(super) fn inwards(vpc: &Vpc, packet: Packet, name: &Name) -> Vec<Step> {
    let mut ports = vpc.ports().values();
    let Some(port) = ports.find(|port| port.address == packet.to) else {
        return vec![Step::NoReceiver(packet.to)];
    };
    let (back, way) = route(vpc, &port.subnet, packet.from);
    let mut steps = vec![
        network_acl::entering(vpc, &port.subnet, packet),
        groups(vpc, port, Direction::Inbound, packet),
        back,
    ];
    if way != Some(Way::Peering(name.clone())) {
        steps.push(Step::NoWayBack(name.clone()));
    }
    steps
}
