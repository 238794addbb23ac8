//! What becomes of packets that leave the network, or come from outside.

use std::net::Ipv4Addr;

use super::{Packet, PacketKind, Step, Way, groups, network_acl, route};
use crate::port::Port;
use crate::public_address::Holder;
use crate::publication::Protocol;
use crate::security_group::Direction;
use crate::uplink::Uplink;
use crate::vpc::Vpc;

/// From the route of `sender`'s subnet on, which leads to a gateway.
pub(super) fn outwards(vpc: &Vpc, sender: &Port, packet: Packet, way: Option<Way>) -> Vec<Step> {
    let Some(Way::NatGateway(name)) = way else {
        let from = sender.address;
        let public = vpc.public_address_of(&Holder::Port(sender.id));
        return vec![public.map_or(Step::NoPublicAddress(from), |to| translated(from, to))];
    };
    let subnet = &vpc.nat_gateways()[&name].subnet;
    let (next, way) = route(vpc, subnet, packet.to);
    let public = vpc.public_address_of(&Holder::NatGateway(name.clone()));
    let last = match (way, public) {
        (Some(Way::InternetGateway), Some(to)) => Step::Translated {
            by: Some(name),
            from: sender.address,
            to,
        },
        _ => Step::NatGatewayAstray(name),
    };
    match *subnet == sender.subnet {
        true => vec![next, last],
        // It comes into the gateway's subnet, and leaves that, too.
        false => vec![
            network_acl::entering(vpc, subnet, packet),
            next,
            network_acl::leaving(vpc, subnet, packet),
            last,
        ],
    }
}

/// From nobody of the network: to a public address, or to a port of the host.
pub(super) fn inwards(vpc: &Vpc, packet: Packet) -> Vec<Step> {
    let not = |why| vec![Step::NotFromOutside(packet.to, why)];
    if vpc.cidr.contains(packet.to) {
        return not("it is an address of the network, known within it only");
    }
    let Some(public) = vpc.public_addresses().get(&packet.to) else {
        return published(vpc, packet);
    };
    let id = match &public.holder {
        Some(Holder::Port(id)) => *id,
        Some(Holder::NatGateway(_)) => return not("a NAT gateway lets nothing in"),
        None => return not("it is associated with nothing"),
    };
    let Ok(port) = vpc.port(id) else {
        return not("it is associated with nothing");
    };
    // The way in is the gateway's; that of the answers is the subnet's.
    let (back, way) = route(vpc, &port.subnet, packet.from);
    let mut steps = vec![
        translated(packet.to, port.address),
        network_acl::entering(vpc, &port.subnet, packet),
        groups(vpc, port, Direction::Inbound, packet),
        back,
    ];
    if way != Some(Way::InternetGateway) {
        let why = "the route of its answers is not by the internet gateway";
        steps.push(Step::NotFromOutside(packet.to, why));
    }
    steps
}

fn translated(from: Ipv4Addr, to: Ipv4Addr) -> Step {
    Step::Translated { by: None, from, to }
}

fn published(vpc: &Vpc, packet: Packet) -> Vec<Step> {
    let wanted = match packet.kind {
        PacketKind::Tcp(port) => Some((Protocol::Tcp, port)),
        PacketKind::Udp(port) => Some((Protocol::Udp, port)),
        _ => None,
    };
    let mut all = vpc.published().filter(|(_, published)| {
        let publication = &published.publication;
        Some((publication.protocol, publication.host_port)) == wanted
            && publication.is_at(packet.to)
    });
    let Some((port, published)) = all.next() else {
        let why = "it is no public address of the network, and the host publishes no such port";
        return vec![Step::NotFromOutside(packet.to, why)];
    };
    // What the host sends to itself comes from its end of the cable.
    let own = vpc.uplink().filter(|_| packet.from.is_loopback());
    let from = own.map_or(packet.from, Uplink::host);
    let kind = match packet.kind {
        PacketKind::Udp(_) => PacketKind::Udp(published.publication.guest_port),
        _ => PacketKind::Tcp(published.publication.guest_port),
    };
    let relayed = Packet {
        from,
        to: port.address,
        kind,
    };
    vec![
        Step::Published {
            publication: published.publication,
            to: port.address,
        },
        network_acl::entering(vpc, &port.subnet, relayed),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{explain, passes};
    use super::*;
    use crate::cidr::Cidr;
    use crate::name::Name;
    use crate::port::PortWish;
    use crate::route_table::Target;
    use crate::security_group::{Peer, Rule};
    use crate::uplink::Uplink;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// 10.0.1.4 in `front`, by whose table one gets to the internet gateway, and
    /// 10.0.2.4 in `back`, whose table leads to a NAT gateway in front, 10.0.1.5.
    fn vpc() -> Vpc {
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        for (subnet, range) in [("front", "10.0.1.0/24"), ("back", "10.0.2.0/24")] {
            vpc.add_subnet(name(subnet), range.parse().unwrap())
                .unwrap();
            vpc.add_port(name(subnet), PortWish::default()).unwrap();
        }
        let uplink = Uplink::try_from(0).unwrap();
        let internet = vpc.attach_internet_gateway(uplink).unwrap();
        vpc.add_route(&name("main"), Cidr::ALL, Target::InternetGateway(internet))
            .unwrap();
        vpc.allocate(NAT).unwrap();
        vpc.allocate(PUBLIC).unwrap();
        let gateway = vpc.add_nat_gateway(name("egress"), name("front"), NAT);
        let nat = Target::NatGateway(gateway.unwrap().id);
        vpc.add_route_table(name("private")).unwrap();
        vpc.associate(&name("back"), &name("private")).unwrap();
        vpc.add_route(&name("private"), Cidr::ALL, nat).unwrap();
        vpc
    }

    const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
    const NAT: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

    fn told(vpc: &Vpc, from: &str, to: &str, kind: &str) -> (bool, String) {
        let packet = Packet {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            kind: kind.parse().unwrap(),
        };
        let steps = explain(vpc, packet);
        let texts: Vec<String> = steps.iter().map(Step::to_string).collect();
        (passes(&steps), texts.join("\n"))
    }

    fn associate(vpc: &mut Vpc, address: &str) {
        let port = vpc.port_at(address.parse().unwrap()).unwrap().id;
        vpc.associate_address(PUBLIC, port).unwrap();
    }

    #[test]
    fn who_has_no_public_address_does_not_leave_by_the_internet_gateway() {
        let mut vpc = vpc();
        let (passes, why) = told(&vpc, "10.0.1.4", "192.0.2.1", "443");
        assert!(!passes && why.ends_with("10.0.1.4 has no public address, so it does not leave"));
        associate(&mut vpc, "10.0.1.4");
        let (passes, why) = told(&vpc, "10.0.1.4", "192.0.2.1", "443");
        assert!(passes);
        assert_eq!(
            why,
            "outbound at 10.0.1.4: 'default' allows all 0.0.0.0/0\n\
             route table 'main': 0.0.0.0/0 goes by the internet gateway\n\
             outbound at subnet 'front': rule 100 of network ACL 'default' allows all \
             0.0.0.0/0\n\
             internet gateway: 10.0.1.4 becomes 203.0.113.7"
        );
    }

    #[test]
    fn by_a_nat_gateway_one_leaves_under_its_address_and_nobody_comes() {
        let mut vpc = vpc();
        let (passes, why) = told(&vpc, "10.0.2.4", "192.0.2.1", "udp:53");
        assert!(passes);
        assert_eq!(
            why,
            "outbound at 10.0.2.4: 'default' allows all 0.0.0.0/0\n\
             route table 'private': 0.0.0.0/0 goes by NAT gateway 'egress'\n\
             outbound at subnet 'back': rule 100 of network ACL 'default' allows all \
             0.0.0.0/0\n\
             inbound at subnet 'front': rule 100 of network ACL 'default' allows all \
             0.0.0.0/0\n\
             route table 'main': 0.0.0.0/0 goes by the internet gateway\n\
             outbound at subnet 'front': rule 100 of network ACL 'default' allows all \
             0.0.0.0/0\n\
             NAT gateway 'egress': 10.0.2.4 becomes 198.19.0.1"
        );
        for from in ["192.0.2.1", "10.0.2.4"] {
            let (passes, why) = told(&vpc, from, "198.19.0.1", "443");
            assert!(!passes && why.ends_with("a NAT gateway lets nothing in"));
        }
        vpc.remove_route(&name("main"), Cidr::ALL).unwrap();
        let (passes, why) = told(&vpc, "10.0.2.4", "192.0.2.1", "udp:53");
        assert!(
            !passes && why.ends_with("route table 'main': no route leads there"),
            "{why}"
        );
        vpc.remove_nat_gateway(&name("egress")).unwrap();
        let (passes, why) = told(&vpc, "10.0.2.4", "192.0.2.1", "udp:53");
        assert!(!passes && why.ends_with("0.0.0.0/0 leads nowhere"), "{why}");
    }

    #[test]
    fn from_outside_one_comes_to_a_public_address_as_far_as_groups_and_routes_let_one() {
        let mut vpc = vpc();
        let ask = |vpc: &Vpc| told(vpc, "192.0.2.1", "203.0.113.7", "443");
        let (passes, why) = ask(&vpc);
        assert!(!passes && why.ends_with("it is associated with nothing"));
        associate(&mut vpc, "10.0.1.4");
        let (passes, why) = ask(&vpc);
        assert!(!passes && why.ends_with("inbound at 10.0.1.4: no rule of 'default' allows it"));
        let web = Rule {
            traffic: "tcp:443".parse().unwrap(),
            peer: Peer::Cidr(Cidr::ALL),
        };
        vpc.authorize(&name("default"), Direction::Inbound, web)
            .unwrap();
        let (passes, why) = ask(&vpc);
        assert!(passes, "{why}");
        assert!(
            why.starts_with("internet gateway: 203.0.113.7 becomes 10.0.1.4\ninbound at subnet")
        );
        vpc.disassociate_address(PUBLIC).unwrap();
        associate(&mut vpc, "10.0.2.4");
        let (passes, why) = ask(&vpc);
        assert!(
            !passes && why.contains("answers is not by the internet gateway"),
            "{why}"
        );
        let (passes, why) = told(&vpc, "192.0.2.1", "10.0.1.4", "443");
        assert!(!passes && why.ends_with("known within it only"), "{why}");
    }

    #[test]
    fn a_published_port_answers_whatever_the_groups_say() {
        let mut vpc = vpc();
        let port = vpc.port_at("10.0.2.4".parse().unwrap()).unwrap().id;
        let uplink = Uplink::try_from(0).unwrap();
        vpc.publish(port, "127.0.0.1:8080:80".parse().unwrap(), uplink)
            .unwrap();
        let (passes, why) = told(&vpc, "192.0.2.1", "127.0.0.1", "8080");
        assert!(passes);
        assert_eq!(
            why,
            "published as 127.0.0.1:8080:80 at 10.0.2.4, whatever its security groups say\n\
             inbound at subnet 'back': rule 100 of network ACL 'default' allows all \
             0.0.0.0/0"
        );
        vpc.add_network_acl(name("closed")).unwrap();
        vpc.associate_network_acl(&name("back"), &name("closed"))
            .unwrap();
        let (passes, why) = told(&vpc, "192.0.2.1", "127.0.0.1", "8080");
        assert!(!passes && why.contains("no rule of network ACL 'closed'"));
        for (to, kind) in [
            ("127.0.0.2", "8080"),
            ("127.0.0.1", "80"),
            ("127.0.0.1", "udp:8080"),
        ] {
            let (passes, why) = told(&vpc, "192.0.2.1", to, kind);
            assert!(!passes && why.contains("publishes no such port"), "{why}");
        }
    }
}
