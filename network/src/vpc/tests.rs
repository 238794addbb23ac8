//! What a network lets be done to it, and what it refuses.

use std::collections::BTreeSet;

use super::*;
use crate::mac::Mac;
use crate::network_acl::{AclRule, Action, Number};
use crate::port::PortWish;
use crate::route_table::Target;
use crate::security_group::Direction;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn rule(traffic: &str, peer: Peer) -> Rule {
    let traffic = traffic.parse().unwrap();
    Rule { traffic, peer }
}

/// 10.0.0.0/16 with subnets `front` and `back`.
fn vpc() -> Vpc {
    let mut vpc = Vpc::new(cidr("10.0.0.0/16")).unwrap();
    vpc.add_subnet(name("front"), cidr("10.0.1.0/24")).unwrap();
    vpc.add_subnet(name("back"), cidr("10.0.2.0/28")).unwrap();
    vpc
}

fn wish(owner: &str) -> PortWish {
    PortWish {
        owner: owner.into(),
        ..PortWish::default()
    }
}

/// What `change` is refused with; it leaves everything as it was.
fn refusal<T>(vpc: &mut Vpc, change: impl FnOnce(&mut Vpc) -> Result<T, Refused>) -> String {
    let before = vpc.clone();
    let refused = change(vpc).err().expect("it is refused").to_string();
    assert_eq!(*vpc, before);
    refused
}

#[test]
fn a_network_has_from_16_to_65536_addresses_of_its_own() {
    for good in ["10.0.0.0/16", "192.168.7.0/28", "100.64.0.0/20"] {
        assert!(Vpc::new(cidr(good)).is_ok());
    }
    for (bad, part) in [
        ("10.0.0.0/15", "from /16 to /28"),
        ("10.0.0.0/29", "from /16 to /28"),
        ("127.3.0.0/16", "each host itself"),
        ("169.254.169.0/24", "metadata"),
        ("239.0.0.0/16", "groups of hosts"),
        ("255.255.0.0/16", "groups of hosts"),
        ("0.0.0.0/16", "hosts that have none"),
    ] {
        let error = Vpc::new(cidr(bad)).unwrap_err().to_string();
        assert!(error.contains(bad) && error.contains(part), "{error}");
    }
}

#[test]
fn subnets_lie_in_their_network_side_by_side() {
    let mut vpc = vpc();
    let mut refused = |subnet: &str, range: &str| {
        refusal(&mut vpc, |vpc| {
            vpc.add_subnet(name(subnet), cidr(range)).map(|_| ())
        })
    };
    assert!(refused("front", "10.0.9.0/24").contains("there is a subnet 'front' already"));
    assert!(refused("x", "10.1.0.0/24").contains("is not within 10.0.0.0/16"));
    assert!(refused("x", "10.0.9.0/29").contains("from /16 to /28"));
    for overlapping in ["10.0.1.128/25", "10.0.0.0/16", "10.0.1.0/24"] {
        assert!(refused("x", overlapping).contains("overlaps subnet"));
    }
    vpc.add_subnet(name("x"), cidr("10.0.3.0/24")).unwrap();
    vpc.remove_subnet(&name("x")).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.remove_subnet(&name("x")));
    assert_eq!(error, "there is no subnet 'x'; there is back, front");
}

#[test]
fn every_port_has_addresses_of_its_own_until_there_are_none() {
    let mut vpc = vpc();
    let back = vpc.subnets()[&name("back")].capacity();
    for number in 0..back {
        let port = vpc.add_port(name("back"), wish("vm")).unwrap();
        let expected = Ipv4Addr::new(10, 0, 2, 4 + u8::try_from(number).unwrap());
        assert_eq!(port.address, expected);
        assert_eq!(port.tap().len(), 15);
        assert_eq!(port.groups, [name("default")]);
    }
    let macs: BTreeSet<Mac> = vpc.ports().values().map(|port| port.mac).collect();
    assert_eq!(macs.len() as u64, back);
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_port(name("back"), wish("vm")).map(|_| ())
    });
    assert_eq!(error, "subnet 'back' has no address left");
    let some = *vpc.ports().keys().next().unwrap();
    let freed = vpc.remove_port(some).unwrap().address;
    let port = vpc.add_port(name("back"), wish("vm")).unwrap();
    assert_eq!(port.address, freed);
    assert!(vpc.remove_port(some).is_err());
}

#[test]
fn an_address_can_be_asked_for_once_and_within_the_subnet() {
    let mut vpc = vpc();
    let mut asked = wish("first");
    asked.address = Some(Ipv4Addr::new(10, 0, 1, 77));
    asked.mac = Some("02:00:00:00:00:01".parse().unwrap());
    let first = vpc.add_port(name("front"), asked.clone()).unwrap().clone();
    assert_eq!(Some(first.address), asked.address);
    assert_eq!(Some(first.mac), asked.mac);
    let again = asked.clone();
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_port(name("front"), again).map(|_| ())
    });
    assert_eq!(
        error,
        format!("10.0.1.77 is taken by {} of 'first'", first.id)
    );
    let mut same_mac = asked.clone();
    same_mac.address = None;
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_port(name("front"), same_mac).map(|_| ())
    });
    assert!(error.starts_with("MAC address 02:00:00:00:00:01 is taken by"));
    for address in ["10.0.1.3", "10.0.1.255", "10.0.2.9"] {
        let mut reserved = wish("vm");
        reserved.address = Some(address.parse().unwrap());
        let error = refusal(&mut vpc, |vpc| {
            vpc.add_port(name("front"), reserved).map(|_| ())
        });
        assert!(error.contains("cannot be a port's: subnet 'front' has 10.0.1.0/24"));
    }
}

#[test]
fn what_is_in_use_is_not_taken_away() {
    let mut vpc = vpc();
    vpc.add_group(name("web"), "web servers".into()).unwrap();
    let mut in_web = wish("vm");
    in_web.groups = vec![name("web")];
    let port = vpc.add_port(name("front"), in_web).unwrap().id;
    let user = format!("is in use by {port} of 'vm'");
    let error = refusal(&mut vpc, |vpc| vpc.remove_subnet(&name("front")));
    assert!(error.ends_with(&user), "{error}");
    let error = refusal(&mut vpc, |vpc| vpc.remove_group(&name("web")));
    assert!(error.ends_with(&user), "{error}");
    let error = refusal(&mut vpc, |vpc| vpc.remove_group(&name("default")));
    assert!(error.contains("belongs to every network"));
    vpc.set_groups(port, vec![name("default")]).unwrap();
    let from_web = rule("tcp:5432", Peer::Group(name("web")));
    vpc.authorize(&name("default"), Direction::Inbound, from_web.clone())
        .unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.remove_group(&name("web")));
    assert!(error.ends_with("in use by a rule of 'default'"), "{error}");
    vpc.revoke(&name("default"), Direction::Inbound, &from_web)
        .unwrap();
    vpc.remove_group(&name("web")).unwrap();

    vpc.add_route_table(name("private")).unwrap();
    vpc.associate(&name("back"), &name("private")).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.remove_route_table(&name("private")));
    assert!(error.ends_with("in use by subnet 'back'"));
    let error = refusal(&mut vpc, |vpc| vpc.remove_route_table(&name("main")));
    assert!(error.contains("belongs to every network"));
    vpc.associate(&name("back"), &name("main")).unwrap();
    vpc.remove_route_table(&name("private")).unwrap();
}

#[test]
fn groups_have_each_rule_once_and_sixty_in_a_direction() {
    let mut vpc = vpc();
    vpc.add_group(name("web"), String::new()).unwrap();
    for port in 1..=60 {
        let one = rule(&format!("tcp:{port}"), Peer::Cidr(Cidr::ALL));
        vpc.authorize(&name("web"), Direction::Inbound, one)
            .unwrap();
    }
    let mut refused = |direction, traffic: &str, peer| {
        let one = rule(traffic, peer);
        refusal(&mut vpc, |vpc| vpc.authorize(&name("web"), direction, one))
    };
    let all = || Peer::Cidr(Cidr::ALL);
    let error = refused(Direction::Inbound, "tcp:61", all());
    assert_eq!(
        error,
        "security group 'web' has 60 inbound rules, the most it can"
    );
    assert!(refused(Direction::Inbound, "tcp:60", all()).contains("has that rule already"));
    assert!(refused(Direction::Outbound, "all", all()).contains("has that rule already"));
    let unknown = refused(Direction::Outbound, "all", Peer::Group(name("db")));
    assert_eq!(
        unknown,
        "there is no security group 'db'; there is default, web"
    );
    let gone = rule("udp:1", all());
    let error = refusal(&mut vpc, |vpc| {
        vpc.revoke(&name("web"), Direction::Inbound, &gone)
    });
    assert_eq!(error, "security group 'web' has no such rule");
}

#[test]
fn a_port_has_from_one_to_sixteen_groups() {
    let mut vpc = vpc();
    let many: Vec<Name> = (0..17).map(|number| name(&format!("g{number}"))).collect();
    for group in &many {
        vpc.add_group(group.clone(), String::new()).unwrap();
    }
    let port = vpc.add_port(name("front"), wish("vm")).unwrap().id;
    let error = refusal(&mut vpc, |vpc| vpc.set_groups(port, many.clone()));
    assert!(error.contains("from 1 to 16 security groups, not 17"));
    assert!(refusal(&mut vpc, |vpc| vpc.set_groups(port, Vec::new())).contains("not 0"));
    vpc.set_groups(port, many[..16].to_vec()).unwrap();
    vpc.set_groups(port, vec![name("g1"), name("g1")]).unwrap();
    assert_eq!(vpc.port(port).unwrap().groups, [name("g1")]);
}

#[test]
fn routes_lead_out_of_the_network_only() {
    let mut vpc = vpc();
    let router = vpc.add_port(name("front"), wish("router")).unwrap().id;
    let main = name("main");
    let target = Target::Port(router);
    vpc.add_route(&main, Cidr::ALL, target).unwrap();
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_route(&main, Cidr::ALL, Target::Blackhole)
    });
    assert_eq!(error, "route table 'main' has a route to 0.0.0.0/0 already");
    for inside in ["10.0.0.0/16", "10.0.1.0/24"] {
        let error = refusal(&mut vpc, |vpc| vpc.add_route(&main, cidr(inside), target));
        assert!(error.contains("whose own route always holds"));
    }
    vpc.add_route(&main, cidr("10.0.0.0/8"), Target::Blackhole)
        .unwrap();
    vpc.remove_port(router).unwrap();
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_route(&main, cidr("192.168.0.0/16"), target)
    });
    assert!(error.contains("there is no port eni-"));
    vpc.remove_route(&main, Cidr::ALL).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.remove_route(&main, Cidr::ALL));
    assert_eq!(error, "route table 'main' has no route to 0.0.0.0/0");
}

#[test]
fn a_network_is_read_as_it_was_written() {
    let mut vpc = vpc();
    vpc.add_port(name("front"), wish("vm")).unwrap();
    let text = serde_json::to_string(&vpc).unwrap();
    assert_eq!(serde_json::from_str::<Vpc>(&text).unwrap(), vpc);
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn uplink(number: u16) -> Uplink {
    Uplink::try_from(number).unwrap()
}

#[test]
fn a_network_has_one_internet_gateway_and_keeps_it_while_it_is_used() {
    let mut vpc = vpc();
    let port = vpc.add_port(name("front"), wish("web")).unwrap().id;
    let public = address("203.0.113.7");
    vpc.allocate(public).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.associate_address(public, port));
    assert_eq!(error, "the network has no internet gateway");
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_nat_gateway(name("egress"), name("front"), public)
            .map(drop)
    });
    assert_eq!(error, "the network has no internet gateway");
    assert_eq!(vpc.uplink(), None);
    let gateway = vpc.attach_internet_gateway(uplink(1)).unwrap();
    assert_eq!(vpc.uplink(), Some(uplink(1)));
    let error = refusal(&mut vpc, |vpc| {
        vpc.attach_internet_gateway(uplink(2)).map(drop)
    });
    assert!(error.ends_with(&format!("already, {gateway}")), "{error}");
    vpc.associate_address(public, port).unwrap();
    let error = refusal(&mut vpc, Vpc::detach_internet_gateway);
    assert_eq!(
        error,
        format!(
            "the internet gateway is in use by {port} of 'web', which has the public address \
             203.0.113.7"
        )
    );
    // Whoever has it is gone.
    vpc.remove_port(port).unwrap();
    vpc.detach_internet_gateway().unwrap();
    assert_eq!((vpc.uplink(), vpc.last_uplink()), (None, Some(uplink(1))));
    let error = refusal(&mut vpc, Vpc::detach_internet_gateway);
    assert_eq!(error, "the network has no internet gateway");
    let main = name("main");
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_route(&main, Cidr::ALL, Target::InternetGateway(gateway))
    });
    assert_eq!(error, "the network has no internet gateway");
}

#[test]
fn public_addresses_are_given_back_when_nothing_has_them() {
    let mut vpc = vpc();
    vpc.attach_internet_gateway(uplink(1)).unwrap();
    let one = vpc.add_port(name("front"), wish("one")).unwrap().id;
    let other = vpc.add_port(name("front"), wish("other")).unwrap().id;
    for (bad, part) in [
        ("10.0.200.1", "it is of the network itself, 10.0.0.0/16"),
        ("127.0.0.1", "it is of each host itself"),
        ("169.254.169.254", "metadata service"),
        ("224.0.0.9", "groups of hosts"),
    ] {
        let error = refusal(&mut vpc, |vpc| vpc.allocate(address(bad)).map(drop));
        assert!(error.contains(part), "{error}");
    }
    let (first, second) = (address("203.0.113.1"), address("203.0.113.2"));
    vpc.allocate(first).unwrap();
    vpc.allocate(second).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.allocate(first).map(drop));
    assert_eq!(
        error,
        "the network has the public address 203.0.113.1 already"
    );
    vpc.associate_address(first, one).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.associate_address(first, other));
    assert!(error.contains(&format!("203.0.113.1 is in use by {one} of 'one'")));
    let error = refusal(&mut vpc, |vpc| vpc.associate_address(second, one));
    assert!(
        error.ends_with("has a public address already, 203.0.113.1"),
        "{error}"
    );
    let error = refusal(&mut vpc, |vpc| vpc.release(first));
    assert!(error.contains("is in use by"), "{error}");
    let error = refusal(&mut vpc, |vpc| vpc.disassociate_address(second));
    assert!(error.ends_with("is associated with nothing"), "{error}");
    vpc.disassociate_address(first).unwrap();
    vpc.release(first).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.release(first));
    assert_eq!(error, "the network has no public address 203.0.113.1");
    vpc.associate_address(second, one).unwrap();
    vpc.remove_port(one).unwrap();
    vpc.release(second).unwrap();
}

#[test]
fn a_nat_gateway_has_two_addresses_that_are_nobody_elses() {
    let mut vpc = vpc();
    vpc.attach_internet_gateway(uplink(1)).unwrap();
    let public = address("203.0.113.1");
    vpc.allocate(public).unwrap();
    let egress = name("egress");
    let gateway = vpc.add_nat_gateway(egress.clone(), name("back"), public);
    let gateway = gateway.unwrap().clone();
    assert_eq!(gateway.address, address("10.0.2.4"));
    let mut refused = |owner: &str, wanted: &str| {
        let mut wish = wish(owner);
        wish.address = Some(address(wanted));
        refusal(&mut vpc, |vpc| vpc.add_port(name("back"), wish).map(drop))
    };
    assert_eq!(
        refused("vm", "10.0.2.4"),
        "10.0.2.4 is taken by NAT gateway 'egress'"
    );
    let port = vpc.add_port(name("back"), wish("vm")).unwrap();
    assert_eq!(port.address, address("10.0.2.5"));
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_nat_gateway(egress.clone(), name("back"), public)
            .map(drop)
    });
    assert_eq!(error, "there is a NAT gateway 'egress' already");
    let error = refusal(&mut vpc, |vpc| {
        vpc.add_nat_gateway(name("x"), name("back"), public)
            .map(drop)
    });
    assert!(error.contains("203.0.113.1 is in use by NAT gateway 'egress'"));
    let error = refusal(&mut vpc, |vpc| vpc.disassociate_address(public));
    assert!(error.contains("of NAT gateway 'egress' as long as there is that"));
    let port = vpc.port_at(address("10.0.2.5")).unwrap().id;
    vpc.remove_port(port).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.remove_subnet(&name("back")));
    assert_eq!(error, "subnet 'back' is in use by NAT gateway 'egress'");
    vpc.add_route(&name("main"), Cidr::ALL, Target::NatGateway(gateway.id))
        .unwrap();
    vpc.remove_nat_gateway(&egress).unwrap();
    let error = refusal(&mut vpc, |vpc| vpc.remove_nat_gateway(&egress));
    assert_eq!(error, "there is no NAT gateway 'egress'");
    let error = refusal(&mut vpc, |vpc| {
        let somewhere = cidr("192.0.2.0/24");
        vpc.add_route(&name("main"), somewhere, Target::NatGateway(gateway.id))
    });
    assert!(error.starts_with("there is no NAT gateway nat-"), "{error}");
    vpc.release(public).unwrap();
}

#[test]
fn a_port_of_the_host_is_published_once_and_goes_with_its_guest() {
    let mut vpc = vpc();
    let one = vpc.add_port(name("front"), wish("one")).unwrap().id;
    let other = vpc.add_port(name("front"), wish("other")).unwrap().id;
    let publish = |vpc: &mut Vpc, id, text: &str| vpc.publish(id, text.parse().unwrap(), uplink(4));
    publish(&mut vpc, one, "127.0.0.1:80:8080").unwrap();
    assert_eq!(vpc.uplink(), Some(uplink(4)));
    publish(&mut vpc, other, "192.0.2.1:80:9090").unwrap();
    publish(&mut vpc, other, "80:53/udp").unwrap();
    let error = refusal(&mut vpc, |vpc| publish(vpc, other, "127.0.0.1:80:1"));
    assert_eq!(
        error,
        format!("127.0.0.1:80:1 cannot be published: {one} of 'one' has 127.0.0.1:80:8080")
    );
    let relays: BTreeSet<u16> = vpc.ports()[&other]
        .published
        .iter()
        .filter(|one| one.publication.protocol.name() == "tcp")
        .chain(&vpc.ports()[&one].published)
        .map(|one| one.relay)
        .collect();
    assert_eq!(relays.len(), 2, "on the uplink they are told apart");
    vpc.remove_port(one).unwrap();
    vpc.remove_port(other).unwrap();
    assert_eq!((vpc.uplink(), vpc.published().count()), (None, 0));
}

#[test]
fn network_acls_are_given_to_subnets_and_filled() {
    let mut vpc = vpc();
    let (front, strict) = (name("front"), name("strict"));
    let number = |number: u16| Number::try_from(number).unwrap();
    let rule = AclRule {
        action: Action::Deny,
        traffic: Traffic::All,
        cidr: Cidr::ALL,
    };
    assert_eq!(vpc.network_acl_of(&front).0.as_str(), "default");
    vpc.add_network_acl(strict.clone()).unwrap();
    let new = &vpc.network_acls()[&strict];
    assert!(new.inbound.is_empty() && new.outbound.is_empty());
    for direction in [Direction::Inbound, Direction::Outbound] {
        for one in 1..=40 {
            vpc.add_acl_rule(&strict, direction, number(one), rule)
                .unwrap();
        }
    }
    vpc.associate_network_acl(&front, &strict).unwrap();
    let inbound = Direction::Inbound;
    let full = refusal(&mut vpc, |vpc| {
        vpc.add_acl_rule(&strict, inbound, number(99), rule)
    });
    assert_eq!(
        full,
        "network ACL 'strict' has 40 inbound rules, the most it can"
    );
    vpc.remove_acl_rule(&strict, inbound, number(7)).unwrap();
    let gone = refusal(&mut vpc, |vpc| {
        vpc.remove_acl_rule(&strict, inbound, number(7))
    });
    assert_eq!(gone, "network ACL 'strict' has no inbound rule 7");
    let there = refusal(&mut vpc, |vpc| {
        vpc.add_acl_rule(&strict, inbound, number(8), rule)
    });
    assert_eq!(there, "network ACL 'strict' has an inbound rule 8 already");
    let used = refusal(&mut vpc, |vpc| vpc.remove_network_acl(&strict));
    assert_eq!(used, "network ACL 'strict' is in use by subnet 'front'");
    let default = refusal(&mut vpc, |vpc| vpc.remove_network_acl(&name("default")));
    assert!(default.contains("belongs to every network"));
    let unknown = refusal(&mut vpc, |vpc| {
        vpc.associate_network_acl(&front, &name("other"))
    });
    assert!(unknown.starts_with("there is no network ACL 'other'; there is default"));
    refusal(&mut vpc, |vpc| {
        vpc.associate_network_acl(&name("x"), &strict)
    });
    refusal(&mut vpc, |vpc| {
        vpc.add_network_acl(strict.clone()).map(drop)
    });
    vpc.associate_network_acl(&front, &name("default")).unwrap();
    vpc.remove_network_acl(&strict).unwrap();
}
