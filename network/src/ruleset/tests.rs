//! What the rules of a network are, and what a change to it changes. That
//! nftables understands them, and what they do to packets, is tested where there
//! is a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cidr::Cidr;
use crate::name::Name;
use crate::network_acl::{AclRule, Action};
use crate::port::PortWish;
use crate::public_address::Holder;
use crate::security_group::{Direction, Peer, Rule};
use crate::uplink::Uplink;
use crate::vpc::{Vpc, peer};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn rule(traffic: &str, peer: Peer) -> Rule {
    let traffic = traffic.parse().unwrap();
    Rule { traffic, peer }
}

/// A network with subnet `front`, group `web` and a port of each kind.
fn vpc() -> Vpc {
    let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
    vpc.add_subnet(name("front"), "10.0.1.0/24".parse().unwrap())
        .unwrap();
    vpc.add_group(name("web"), String::new()).unwrap();
    for groups in [vec![], vec![name("web")]] {
        let wish = PortWish {
            groups,
            ..PortWish::default()
        };
        vpc.add_port(name("front"), wish).unwrap();
    }
    vpc
}

/// The commands of a transaction but for the seal, which every change replaces.
fn changes(transaction: &Value) -> Vec<(&str, &str, &Value)> {
    let (seal, rest): (Vec<_>, Vec<_>) = commands(transaction)
        .into_iter()
        .partition(|(_, _, object)| object["name"] == "seal");
    let verbs: Vec<&str> = seal.iter().map(|(verb, ..)| *verb).collect();
    assert_eq!(verbs, ["delete", "add"]);
    rest
}

/// The commands of a transaction: verb, kind of object, object.
fn commands(transaction: &Value) -> Vec<(&str, &str, &Value)> {
    let commands = transaction["nftables"].as_array().unwrap();
    let parts = |command: &'_ Value| -> (String, String) {
        let (verb, rest) = command.as_object().unwrap().iter().next().unwrap();
        let (what, _) = rest.as_object().unwrap().iter().next().unwrap();
        (verb.clone(), what.clone())
    };
    let borrow = |command| {
        let (verb, what) = parts(command);
        let (verb, rest) = command.as_object().unwrap().get_key_value(&verb).unwrap();
        let (what, object) = rest.as_object().unwrap().get_key_value(&what).unwrap();
        (verb.as_str(), what.as_str(), object)
    };
    commands.iter().map(borrow).collect()
}

#[test]
fn a_rule_more_replaces_one_chain() {
    let mut vpc = vpc();
    let before = Ruleset::of(&vpc);
    let everybody = Peer::Cidr(Cidr::ALL);
    vpc.authorize(&name("web"), Direction::Inbound, rule("tcp:80", everybody))
        .unwrap();
    let change = transaction(&before, &Ruleset::of(&vpc)).unwrap();
    let chain = format!("inbound-{}", vpc.groups()[&name("web")].id);
    let told: Vec<_> = changes(&change)
        .into_iter()
        .map(|(verb, what, object)| (verb, what, object.clone()))
        .collect();
    let port = json!({"payload": {"protocol": "tcp", "field": "dport"}});
    let expected = json!({"family": "inet", "table": "plinth", "chain": chain, "expr": [
        {"match": {"op": "==", "left": port, "right": 80}},
        {"accept": null},
    ]});
    let flushed = json!({"family": "inet", "table": "plinth", "name": chain});
    assert_eq!(
        told,
        [("flush", "chain", flushed), ("add", "rule", expected)]
    );
}

#[test]
fn another_member_of_a_group_is_an_element_more_and_no_rule_changes() {
    let mut vpc = vpc();
    let from_web = rule("all", Peer::Group(name("web")));
    vpc.authorize(&name("default"), Direction::Inbound, from_web)
        .unwrap();
    let before = Ruleset::of(&vpc);
    let id = *vpc.ports().keys().next().unwrap();
    vpc.set_groups(id, vec![name("default"), name("web")])
        .unwrap();
    let change = transaction(&before, &Ruleset::of(&vpc)).unwrap();
    let port = vpc.port(id).unwrap();
    for (verb, what, object) in changes(&change) {
        match (verb, what) {
            ("add", "element") => assert_eq!(object["elem"], json!([port.address])),
            // Which groups the port asks.
            (_, "chain") => assert!(object["name"].as_str().unwrap().ends_with(&port.tap())),
            (_, "rule") => assert!(object["chain"].as_str().unwrap().ends_with(&port.tap())),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rule_of_a_network_acl_more_replaces_one_chain_in_the_order_of_numbers() {
    let mut vpc = vpc();
    let default = name("default");
    let before = Ruleset::of(&vpc);
    let denied = AclRule {
        action: Action::Deny,
        traffic: "udp".parse().unwrap(),
        cidr: "192.0.2.0/24".parse().unwrap(),
    };
    let first = 99.try_into().unwrap();
    vpc.add_acl_rule(&default, Direction::Outbound, first, denied)
        .unwrap();
    let change = transaction(&before, &Ruleset::of(&vpc)).unwrap();
    let chain = format!("outbound-{}", vpc.network_acls()[&default].id);
    let told: Vec<_> = changes(&change)
        .into_iter()
        .map(|(verb, _, object)| {
            let of = object["chain"].as_str().or(object["name"].as_str());
            assert_eq!(of, Some(chain.as_str()));
            let last = object["expr"].as_array().and_then(|expr| expr.last());
            (verb, last.cloned().unwrap_or_default())
        })
        .collect();
    let (accept, drop) = (json!({"accept": null}), json!({"drop": null}));
    let expected = [
        ("flush", Value::Null),
        ("add", drop.clone()),
        ("add", accept),
        ("add", drop),
    ];
    assert_eq!(told, expected);
}

#[test]
fn nothing_changed_is_nothing_to_do() {
    let vpc = vpc();
    assert_eq!(transaction(&Ruleset::of(&vpc), &Ruleset::of(&vpc)), None);
}

#[test]
fn who_may_send_as_others_keeps_the_own_mac_address() {
    let mut vpc = vpc();
    let id = *vpc.ports().keys().next().unwrap();
    let before = Ruleset::of(&vpc);
    vpc.set_source_check(id, false).unwrap();
    let change = transaction(&before, &Ruleset::of(&vpc)).unwrap();
    let port = vpc.port(id).unwrap();
    let mut told = BTreeSet::new();
    for (verb, what, object) in changes(&change) {
        if what != "element" {
            // It is sent what is for others from now on.
            let chain = object["chain"].as_str().or(object["name"].as_str());
            assert_eq!(chain.unwrap(), format!("inbound-{}", port.tap()));
            assert!(!object["expr"].to_string().contains("daddr"));
            continue;
        }
        told.insert((
            object["family"].as_str().unwrap(),
            verb,
            object["name"].as_str().unwrap(),
            object["elem"].to_string(),
        ));
    }
    let router = json!([{"concat": [port.tap(), port.mac]}]).to_string();
    let sender = json!([{"concat": [port.tap(), port.mac, port.address]}]).to_string();
    let expected: BTreeSet<_> = ["arp", "inet"]
        .into_iter()
        .flat_map(|family| {
            [
                (family, "delete", "senders", sender.clone()),
                (family, "add", "routers", router.clone()),
            ]
        })
        .collect();
    assert_eq!(told, expected);
}

/// As much of nftables as shows whether a transaction is in order: what is
/// referred to is there, what is deleted is not referred to.
#[derive(Debug, Default, PartialEq)]
struct Kernel {
    tables: BTreeSet<(String, String)>,
    /// By family and name: the rules of chains, the elements of sets.
    chains: BTreeMap<(String, String), Vec<String>>,
    sets: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Kernel {
    fn apply(&mut self, transaction: &Value) {
        for (verb, what, object) in commands(transaction) {
            self.command(verb, what, object);
        }
    }

    fn command(&mut self, verb: &str, what: &str, object: &Value) {
        let family = object["family"].as_str().unwrap().to_owned();
        let named = |field: &str| {
            let name = object[field].as_str().unwrap_or_default();
            (family.clone(), name.to_owned())
        };
        let name = named("name");
        match (verb, what) {
            ("add", "table") => drop(self.tables.insert(name)),
            ("create", "table") => assert!(self.tables.insert(name)),
            ("delete", "table") => {
                assert!(self.tables.remove(&name));
                self.chains.retain(|(of, _), _| *of != family);
                self.sets.retain(|(of, _), _| *of != family);
            }
            ("add", "chain") => {
                assert!(self.tables.contains(&named("table")));
                assert!(self.chains.insert(name, Vec::new()).is_none());
            }
            ("flush", "chain") => self.chains.get_mut(&name).expect("it is there").clear(),
            ("delete", "chain") => {
                assert!(!self.is_referred_to(&family, &format!("\"{}\"", name.1)));
                let rules = self.chains.remove(&name).expect("it is there");
                assert!(rules.is_empty());
            }
            ("add", "set" | "map") => {
                assert!(self.sets.insert(name, BTreeSet::new()).is_none());
            }
            ("delete", "set" | "map") => {
                assert!(!self.is_referred_to(&family, &format!("\"@{}\"", name.1)));
                self.sets.remove(&name).expect("it is there");
            }
            ("add", "rule") => {
                let rule = &object["expr"];
                self.check(&family, rule);
                let chain = self.chains.get_mut(&named("chain")).expect("it is there");
                chain.push(rule.to_string());
            }
            (_, "element") => {
                for element in object["elem"].as_array().unwrap() {
                    self.check(&family, element);
                    let set = self.sets.get_mut(&name).expect("it is there");
                    let changed = match verb {
                        "add" => set.insert(element.to_string()),
                        _ => set.remove(&element.to_string()),
                    };
                    assert!(changed, "{verb} {element}");
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn is_referred_to(&self, family: &str, quoted: &str) -> bool {
        let of = |(of, _): &(String, String)| of == family;
        let mut rules = self.chains.iter().filter(|(key, _)| of(key));
        let mut sets = self.sets.iter().filter(|(key, _)| of(key));
        rules.any(|(_, rules)| rules.iter().any(|rule| rule.contains(quoted)))
            || sets.any(|(_, elements)| elements.iter().any(|one| one.contains(quoted)))
    }

    /// Chains and sets that are named in `value` are there.
    fn check(&self, family: &str, value: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(target) = object.get("jump").or(object.get("goto")) {
                    let name = target["target"].as_str().unwrap().to_owned();
                    assert!(self.chains.contains_key(&(family.into(), name)));
                }
                object.values().for_each(|value| self.check(family, value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.check(family, value)),
            Value::String(text) => {
                if let Some(set) = text.strip_prefix('@') {
                    assert!(
                        self.sets.contains_key(&(family.into(), set.into())),
                        "{set}"
                    );
                }
            }
            _ => {}
        }
    }
}

/// A change that may be refused.
#[derive(Clone, Debug)]
enum Change {
    AddGroup(u8),
    RemoveGroup(u8),
    Authorize(u8, bool, u8, Option<u8>),
    Revoke(u8, bool, u8, Option<u8>),
    AddAcl(u8),
    RemoveAcl(u8),
    AddAclRule(u8, bool, u16, u8),
    RemoveAclRule(u8, bool, u16),
    AssociateAcl(bool, u8),
    AddSubnet,
    RemoveSubnet,
    Peer(u8),
    RemovePeering(u8),
    AddPort(bool, Vec<u8>),
    RemovePort(usize),
    SetGroups(usize, Vec<u8>),
    SetSourceCheck(usize, bool),
    AttachInternetGateway,
    DetachInternetGateway,
    Allocate(u8),
    Release(u8),
    Associate(u8, usize),
    Disassociate(u8),
    AddNatGateway(u8),
    RemoveNatGateway(u8),
    Publish(usize, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let group = || 0u8..4;
    let groups = || prop::collection::vec(group(), 0..3);
    let of_rule = || (group(), any::<bool>(), 0u8..4, prop::option::of(group()));
    prop_oneof![
        group().prop_map(Change::AddGroup),
        group().prop_map(Change::RemoveGroup),
        of_rule().prop_map(|(a, b, c, d)| Change::Authorize(a, b, c, d)),
        of_rule().prop_map(|(a, b, c, d)| Change::Revoke(a, b, c, d)),
        (any::<bool>(), groups()).prop_map(|(back, groups)| Change::AddPort(back, groups)),
        (0usize..8).prop_map(Change::RemovePort),
        (0usize..8, groups()).prop_map(|(port, groups)| Change::SetGroups(port, groups)),
        (0usize..8, any::<bool>()).prop_map(|(port, on)| Change::SetSourceCheck(port, on)),
        outside(),
        outside(),
        border(),
    ]
}

/// A change to subnets, and to what passes their borders.
fn border() -> impl Strategy<Value = Change> {
    let acl = || 0u8..3;
    let inbound = any::<bool>;
    prop_oneof![
        acl().prop_map(Change::AddAcl),
        acl().prop_map(Change::RemoveAcl),
        (acl(), inbound(), 1u16..4, 0u8..4).prop_map(|(acl, inbound, number, rule)| {
            Change::AddAclRule(acl, inbound, number, rule)
        }),
        (acl(), inbound(), 1u16..4)
            .prop_map(|(acl, inbound, number)| Change::RemoveAclRule(acl, inbound, number)),
        (any::<bool>(), acl()).prop_map(|(back, acl)| Change::AssociateAcl(back, acl)),
        Just(Change::AddSubnet),
        Just(Change::RemoveSubnet),
        (1u8..4).prop_map(Change::Peer),
        (1u8..4).prop_map(Change::RemovePeering),
    ]
}

/// A change to the ways out.
fn outside() -> impl Strategy<Value = Change> {
    let address = || 0u8..4;
    prop_oneof![
        Just(Change::AttachInternetGateway),
        Just(Change::DetachInternetGateway),
        address().prop_map(Change::Allocate),
        address().prop_map(Change::Release),
        (address(), 0usize..8).prop_map(|(address, port)| Change::Associate(address, port)),
        address().prop_map(Change::Disassociate),
        address().prop_map(Change::AddNatGateway),
        address().prop_map(Change::RemoveNatGateway),
        (0usize..8, 0u8..4).prop_map(|(port, number)| Change::Publish(port, number)),
    ]
}

impl Change {
    fn make(self, vpc: &mut Vpc) {
        let group = |number: u8| match number {
            0 => name("default"),
            other => name(&format!("g{other}")),
        };
        let acl = |number: u8| name(["default", "a1", "a2"][usize::from(number)]);
        let acl_rule = |what: u8| AclRule {
            action: [Action::Allow, Action::Deny][usize::from(what % 2)],
            traffic: ["all", "tcp:80"][usize::from(what / 2)].parse().unwrap(),
            cidr: Cidr::ALL,
        };
        let subnet = |back| name(if back { "back" } else { "front" });
        let all = |groups: Vec<u8>| groups.into_iter().map(group).collect();
        let direction = |inbound| match inbound {
            true => Direction::Inbound,
            false => Direction::Outbound,
        };
        let one = |traffic: u8, peer: Option<u8>| {
            let traffic = ["all", "tcp:80", "icmp:8/0", "udp:7-9"][usize::from(traffic)];
            let range = || Peer::Cidr("10.0.1.0/28".parse().unwrap());
            rule(
                traffic,
                peer.map_or_else(range, |peer| Peer::Group(group(peer))),
            )
        };
        let uplink = || Uplink::try_from(7).unwrap();
        let address = |number: u8| Ipv4Addr::new(198, [18, 19][usize::from(number % 2)], 0, number);
        let gateway = |number: u8| name(&format!("nat{number}"));
        let publication = |number: u8| {
            ["80:80", "1.2.3.4:81:80", "80:80/udp", "5.6.7.8:81:9"][usize::from(number)]
                .parse()
                .unwrap()
        };
        let port = |vpc: &Vpc, number: usize| vpc.ports().keys().nth(number).copied();
        // What is refused changes nothing, which others test.
        let _ = match self {
            Self::AddGroup(number) => vpc.add_group(group(number), String::new()).map(|_| ()),
            Self::RemoveGroup(number) => vpc.remove_group(&group(number)),
            Self::Authorize(number, inbound, traffic, peer) => {
                vpc.authorize(&group(number), direction(inbound), one(traffic, peer))
            }
            Self::Revoke(number, inbound, traffic, peer) => {
                vpc.revoke(&group(number), direction(inbound), &one(traffic, peer))
            }
            Self::AddAcl(number) => vpc.add_network_acl(acl(number)).map(drop),
            Self::RemoveAcl(number) => vpc.remove_network_acl(&acl(number)),
            Self::AddAclRule(of, inbound, number, what) => {
                let number = number.try_into().unwrap();
                vpc.add_acl_rule(&acl(of), direction(inbound), number, acl_rule(what))
            }
            Self::RemoveAclRule(of, inbound, number) => {
                let number = number.try_into().unwrap();
                vpc.remove_acl_rule(&acl(of), direction(inbound), number)
            }
            Self::AssociateAcl(back, number) => {
                vpc.associate_network_acl(&subnet(back), &acl(number))
            }
            Self::AddSubnet => {
                let cidr = "10.0.2.0/24".parse().unwrap();
                vpc.add_subnet(name("back"), cidr).map(drop)
            }
            Self::Peer(number) => {
                let peering = name(&format!("p{number}"));
                let mut other = Vpc::new(format!("10.{number}.0.0/16").parse().unwrap()).unwrap();
                let ends = ((&mut *vpc, &name("own")), (&mut other, &peering));
                peer(&peering, ends.0, ends.1).map(drop)
            }
            Self::RemovePeering(number) => {
                vpc.remove_peering(&name(&format!("p{number}"))).map(drop)
            }
            Self::RemoveSubnet => vpc.remove_subnet(&name("back")),
            Self::AddPort(back, groups) => {
                let wish = PortWish {
                    groups: all(groups),
                    ..PortWish::default()
                };
                vpc.add_port(subnet(back), wish).map(|_| ())
            }
            Self::RemovePort(number) => match port(vpc, number) {
                Some(id) => vpc.remove_port(id).map(|_| ()),
                None => Ok(()),
            },
            Self::SetGroups(number, groups) => match port(vpc, number) {
                Some(id) => vpc.set_groups(id, all(groups)),
                None => Ok(()),
            },
            Self::SetSourceCheck(number, on) => match port(vpc, number) {
                Some(id) => vpc.set_source_check(id, on),
                None => Ok(()),
            },
            Self::AttachInternetGateway => vpc.attach_internet_gateway(uplink()).map(drop),
            Self::DetachInternetGateway => vpc.detach_internet_gateway(),
            Self::Allocate(number) => vpc.allocate(address(number)).map(drop),
            Self::Release(number) => vpc.release(address(number)),
            Self::Associate(number, to) => match port(vpc, to) {
                Some(id) => vpc.associate_address(address(number), id),
                None => Ok(()),
            },
            Self::Disassociate(number) => vpc.disassociate_address(address(number)),
            Self::AddNatGateway(number) => vpc
                .add_nat_gateway(gateway(number), name("front"), address(number))
                .map(drop),
            Self::RemoveNatGateway(number) => vpc.remove_nat_gateway(&gateway(number)),
            Self::Publish(number, what) => match port(vpc, number) {
                Some(id) => vpc.publish(id, publication(what), uplink()),
                None => Ok(()),
            },
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However one gets there, by steps or at once, the kernel has the same.
    #[test]
    fn transactions_lead_from_any_state_to_any_other(
        changes in prop::collection::vec(change(), 1..60),
        step in 1usize..12,
    ) {
        let both = |vpc: &Vpc| [Ruleset::of(vpc), Ruleset::of_host(vpc)];
        let whole = |kernel: &mut Kernel, rulesets: &[Ruleset; 2]| {
            rulesets.iter().for_each(|ruleset| kernel.apply(&replacement(ruleset)));
        };
        let mut vpc = vpc();
        let mut kernel = Kernel::default();
        let mut told = both(&vpc);
        whole(&mut kernel, &told);
        for changes in changes.chunks(step) {
            changes.iter().cloned().for_each(|change| change.make(&mut vpc));
            let now = both(&vpc);
            for (old, new) in told.iter().zip(&now) {
                if let Some(change) = transaction(old, new) {
                    kernel.apply(&change);
                }
            }
            told = now;
        }
        let mut anew = Kernel::default();
        whole(&mut anew, &told);
        prop_assert_eq!(&kernel, &anew);
        whole(&mut kernel, &told);
        prop_assert_eq!(&kernel, &anew, "it takes the place of what there was");
        // What was stored is read as it is.
        let stored = serde_json::to_string(&vpc).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vpc>(&stored).unwrap(), vpc);
    }
}

#[test]
fn an_address_that_is_associated_is_an_element_more_and_no_rule_changes() {
    let mut vpc = vpc();
    let public = Ipv4Addr::new(203, 0, 113, 7);
    vpc.attach_internet_gateway(Uplink::try_from(7).unwrap())
        .unwrap();
    vpc.allocate(public).unwrap();
    let id = *vpc.ports().keys().next().unwrap();
    let before = (Ruleset::of(&vpc), Ruleset::of_host(&vpc));
    vpc.associate_address(public, id).unwrap();
    assert_eq!(vpc.public_address_of(&Holder::Port(id)), Some(public));
    let change = transaction(&before.0, &Ruleset::of(&vpc)).unwrap();
    let private = vpc.port(id).unwrap().address;
    let told: BTreeSet<_> = changes(&change)
        .into_iter()
        .map(|(verb, what, object)| {
            assert_eq!((verb, what), ("add", "element"));
            (object["name"].as_str().unwrap(), object["elem"].to_string())
        })
        .collect();
    let expected = [
        ("leaving-as", json!([public]).to_string()),
        ("private-of", json!([[public, private]]).to_string()),
        ("public-of", json!([[private, public]]).to_string()),
    ];
    assert_eq!(told, expected.into());
    // The host sends all of the network's addresses there already.
    assert_eq!(transaction(&before.1, &Ruleset::of_host(&vpc)), None);
}

#[test]
fn without_an_uplink_the_host_has_nothing() {
    let mut vpc = vpc();
    assert!(Ruleset::of_host(&vpc).is_empty());
    vpc.attach_internet_gateway(Uplink::try_from(7).unwrap())
        .unwrap();
    assert!(!Ruleset::of_host(&vpc).is_empty());
    let with = Ruleset::of_host(&vpc);
    vpc.detach_internet_gateway().unwrap();
    let change = transaction(&with, &Ruleset::of_host(&vpc)).unwrap();
    let table = json!({"family": "ip", "name": format!("plinth-{}", vpc.id)});
    assert_eq!(commands(&change), [("delete", "table", &table)]);
}
