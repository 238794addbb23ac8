//! What a network lets be done to it, and what it refuses.

use super::*;

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
