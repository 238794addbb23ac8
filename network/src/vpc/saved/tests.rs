//! What a file may say of a network, and what not.

use serde_json::{Value, json};

use crate::name::Name;
use crate::port::PortWish;
use crate::uplink::Uplink;
use crate::vpc::Vpc;

fn saved() -> Value {
    let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
    let front: Name = "front".parse().unwrap();
    vpc.add_subnet(front.clone(), "10.0.1.0/24".parse().unwrap())
        .unwrap();
    vpc.add_port(front, PortWish::default()).unwrap();
    serde_json::to_value(&vpc).unwrap()
}

fn refusal(saved: Value) -> String {
    let refused = serde_json::from_value::<Vpc>(saved).unwrap_err();
    refused.to_string()
}

#[test]
fn what_a_network_cannot_be_is_refused() {
    let port = saved()["ports"].as_object().unwrap().keys().next().cloned();
    let port = format!("/ports/{}", port.unwrap());
    let of_port = |field: &str| format!("{port}/{field}");
    let cases = [
        ("/cidr".into(), json!("10.0.0.0/8"), "from /16 to /28"),
        ("/cidr".into(), json!("10.1.0.0/16"), "is not within"),
        (
            "/subnets/front/cidr".into(),
            json!("10.0.2.0/24"),
            "that it cannot have",
        ),
        (
            "/subnets/front/route_table".into(),
            json!("x"),
            "route table 'x'",
        ),
        (
            "/route_tables/main/number".into(),
            json!(254),
            "'main' has a number",
        ),
        (
            "/route_tables/main/routes".into(),
            json!({"10.0.1.0/24": "blackhole"}),
            "a route",
        ),
        (
            "/route_tables".into(),
            json!({}),
            "the network has route table 'main'",
        ),
        (
            "/groups".into(),
            json!({}),
            "the network has security group 'default'",
        ),
        (
            of_port("subnet"),
            json!("y"),
            "subnet 'y', which there is not",
        ),
        (of_port("address"), json!("10.0.1.3"), "an address"),
        (of_port("groups"), json!([]), "security groups"),
        (
            of_port("groups"),
            json!(["nobody"]),
            "security group 'nobody'",
        ),
        (
            of_port("mac"),
            json!("01:00:00:00:00:00"),
            "the MAC address of",
        ),
        (of_port("id"), json!("eni-00000000000000000"), "an id"),
        (
            "/id".into(),
            json!("sg-00000000000000000"),
            "an id is 'vpc-'",
        ),
    ];
    for (place, value, part) in cases {
        let mut saved = saved();
        let ports = saved["ports"].as_object().unwrap().keys().next().cloned();
        // Ids are different each time.
        let place = match place.strip_prefix(&port) {
            Some(field) => format!("/ports/{}{field}", ports.unwrap()),
            None => place,
        };
        *saved.pointer_mut(&place).expect(&place) = value;
        let error = refusal(saved);
        assert!(error.contains(part), "{place}: {error}");
    }
}

#[test]
fn two_subnets_or_ports_with_the_same_are_refused() {
    let mut twice = saved();
    twice["subnets"]["back"] = twice["subnets"]["front"].clone();
    assert!(refusal(twice).contains("overlaps another"));
    let mut twice = saved();
    let (_, port) = twice["ports"].as_object().unwrap().iter().next().unwrap();
    let mut other = port.clone();
    let id = "eni-0123456789abcdef0";
    other["id"] = json!(id);
    twice["ports"][id] = other;
    assert!(refusal(twice).contains("that it cannot have"));
}

/// One with an internet gateway, a NAT gateway and a published port.
fn saved_with_gateways() -> Value {
    let mut vpc: Vpc = serde_json::from_value(saved()).unwrap();
    let port = *vpc.ports().keys().next().unwrap();
    let uplink = Uplink::try_from(3).unwrap();
    vpc.attach_internet_gateway(uplink).unwrap();
    for address in ["203.0.113.1", "203.0.113.2"] {
        vpc.allocate(address.parse().unwrap()).unwrap();
    }
    vpc.associate_address("203.0.113.1".parse().unwrap(), port)
        .unwrap();
    let (egress, front) = ("egress".parse().unwrap(), "front".parse().unwrap());
    vpc.add_nat_gateway(egress, front, "203.0.113.2".parse().unwrap())
        .unwrap();
    vpc.publish(port, "80:80".parse().unwrap(), uplink).unwrap();
    serde_json::to_value(&vpc).unwrap()
}

#[test]
fn what_gateways_cannot_be_is_refused() {
    let whole = saved_with_gateways();
    let read: Vpc = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), whole);
    let port = read.ports().keys().next().unwrap();
    let published = format!("/ports/{port}/published");
    let twice = |publication: &str, relay: u16| {
        json!([{"publication": "80:80", "relay": 80},
               {"publication": publication, "relay": relay}])
    };
    for (place, value, part) in [
        ("/uplink", json!(null), "without a way"),
        ("/uplink", json!(65535), "is not the number of an uplink"),
        ("/internet_gateway", json!(null), "without a way"),
        (
            "/internet_gateway",
            json!("nat-00000000000000000"),
            "an id is",
        ),
        (
            "/nat_gateways/egress/subnet",
            json!("x"),
            "subnet 'x', which",
        ),
        (
            "/nat_gateways/egress/address",
            json!("10.0.1.1"),
            "'egress' has addresses",
        ),
        (
            "/nat_gateways/egress/address",
            json!("10.0.1.4"),
            "'egress' has addresses",
        ),
        ("/nat_gateways", json!({}), "203.0.113.2 is what"),
        (
            "/public_addresses/203.0.113.2/holder",
            json!(null),
            "'egress' has addresses",
        ),
        (
            "/public_addresses/203.0.113.1/holder",
            json!({"port": "eni-00000000000000000"}),
            "203.0.113.1 is what",
        ),
        (
            "/public_addresses/203.0.113.1/holder",
            json!({"nat-gateway": "egress"}),
            "203.0.113.2 is what",
        ),
        (&published, twice("80:81", 81), "has publications"),
        (&published, twice("1.2.3.4:81:81", 80), "has publications"),
        (
            &published,
            json!([{"publication": "80:80", "relay": 0}]),
            "has publications",
        ),
        (
            &published,
            json!([{"publication": "80", "relay": 1}]),
            "HOSTPORT",
        ),
    ] {
        let mut saved = whole.clone();
        *saved.pointer_mut(place).expect(place) = value;
        let error = refusal(saved);
        assert!(error.contains(part), "{place}: {error}");
    }
    for address in ["10.0.9.9", "169.254.169.254", "224.0.0.1"] {
        let mut saved = whole.clone();
        let public = saved["public_addresses"]["203.0.113.1"].clone();
        saved["public_addresses"][address] = public;
        assert!(refusal(saved).contains("is what, or has what, it cannot"));
    }
}

#[test]
fn a_record_from_before_there_were_gateways_is_read_and_written_the_same() {
    let old = saved();
    for field in [
        "uplink",
        "internet_gateway",
        "nat_gateways",
        "public_addresses",
    ] {
        assert_eq!(old.get(field), None);
    }
    let read: Vpc = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), old);
}

#[test]
fn a_record_from_before_there_were_network_acls_has_the_default_one() {
    let whole = saved();
    let mut old = whole.clone();
    old.as_object_mut().unwrap().remove("network_acls");
    let front = old.pointer_mut("/subnets/front").unwrap();
    front.as_object_mut().unwrap().remove("network_acl");
    let read: Vpc = serde_json::from_value(old.clone()).unwrap();
    let front: Name = "front".parse().unwrap();
    let (name, acl) = read.network_acl_of(&front);
    let everything = json!({"100": {"action": "allow", "traffic": "all", "cidr": "0.0.0.0/0"}});
    assert_eq!(name.as_str(), "default");
    assert_eq!(json!(acl.inbound), everything);
    assert_eq!(json!(acl.outbound), everything);
    let again: Vpc = serde_json::from_value(old).unwrap();
    assert_eq!(again, read, "whoever reads it says the same");
    let stored = serde_json::to_value(&read).unwrap();
    assert_eq!(serde_json::from_value::<Vpc>(stored).unwrap(), read);
}

#[test]
fn network_acls_that_cannot_be_are_refused() {
    let rule = json!({"action": "allow", "traffic": "all", "cidr": "0.0.0.0/0"});
    let rules = |numbers: std::ops::RangeInclusive<u16>| {
        let each = numbers.map(|number| (number.to_string(), rule.clone()));
        Value::Object(each.collect())
    };
    for (place, value, part) in [
        ("/network_acls", json!({}), "network ACL 'default'"),
        ("/subnets/front/network_acl", json!("x"), "network ACL 'x'"),
        (
            "/network_acls/default/inbound",
            rules(1..=41),
            "too many rules",
        ),
        ("/network_acls/default/outbound", rules(0..=1), "1 to 32766"),
        (
            "/network_acls/default/outbound",
            rules(32767..=32767),
            "1 to 32766",
        ),
        (
            "/network_acls/default/inbound/100/action",
            json!("pass"),
            "unknown variant",
        ),
    ] {
        let mut saved = saved();
        *saved.pointer_mut(place).expect(place) = value;
        let error = refusal(saved);
        assert!(error.contains(part), "{place}: {error}");
    }
    let mut twice = saved();
    twice["network_acls"]["other"] = twice["network_acls"]["default"].clone();
    assert!(refusal(twice).contains("an id that it cannot have"));
}

#[test]
fn peerings_that_cannot_be_are_refused() {
    let mut vpc: Vpc = serde_json::from_value(saved()).unwrap();
    let name = |text: &str| -> Name { text.parse().unwrap() };
    for (peering, range) in [("one", "10.1.0.0/16"), ("two", "10.2.0.0/16")] {
        let mut other = Vpc::new(range.parse().unwrap()).unwrap();
        let (own, other_name) = (name("own"), name(peering));
        crate::vpc::peer(&name(peering), (&mut vpc, &own), (&mut other, &other_name)).unwrap();
    }
    let whole = serde_json::to_value(&vpc).unwrap();
    assert_eq!(serde_json::from_value::<Vpc>(whole.clone()).unwrap(), vpc);
    let of_one = |field: &str| whole["peerings"]["one"][field].clone();
    for (place, value, part) in [
        ("/peerings/two/peer", of_one("peer"), "peering 'two' has"),
        ("/peerings/two/peer", json!(vpc.id), "peering 'two' has"),
        ("/peerings/two/id", of_one("id"), "peering 'two' has"),
        ("/peerings/two/cable", of_one("cable"), "peering 'two' has"),
        ("/peerings/two/cable", json!(5120), "which is below 5120"),
        (
            "/peerings/two/cidr",
            json!("10.0.0.0/24"),
            "peering 'two' has",
        ),
        (
            "/peerings/two/cidr",
            json!("0.0.0.0/0"),
            "peering 'two' has",
        ),
        ("/peerings/two/end", json!("middle"), "unknown variant"),
    ] {
        let mut saved = whole.clone();
        *saved.pointer_mut(place).expect(place) = value;
        let error = refusal(saved);
        assert!(error.contains(part), "{place}: {error}");
    }
}
