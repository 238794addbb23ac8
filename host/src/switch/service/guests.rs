//! Who is to be told what: from a network's state, and what is stored of its
//! machines, to leases, names and instances. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use ipnet::Ipv4Net;
use metadata::dhcp::Lease;
use metadata::id::{InstanceId, InterfaceId};
use metadata::instance::Placement;
use metadata::interface::{Interface, Mac, SecurityGroup, Subnet};
use metadata::name::DnsName;
use metadata::text::Line;
use metadata::zone::Zone;
use metadata::{Instance, Options};
use network::cidr::Cidr;
use network::id::{Id, OfPort};
use network::port::Port;
use network::public_address::Holder;
use network::vpc::Vpc;
use sha2::{Digest, Sha256};

use super::super::instance::InstanceRecord;
use super::super::live::MTU;

/// Where everything is: this host is its own region, with one zone.
const REGION: &str = "local-1";
const ZONE: &str = "local-1a";
const ZONE_ID: &str = "loc1-az1";
/// Whose everything is: a host has no accounts.
const ACCOUNT: &str = "000000000000";
/// What completes the names of guests, as it does on EC2.
const DOMAIN: &str = "local-1.compute.internal";

/// A guest at one port of a network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Guest {
    /// Its tap.
    pub(super) tap: String,
    /// What DHCP tells it.
    pub(super) lease: Lease,
    /// What the metadata service tells it.
    pub(super) instance: Instance,
    /// Which of the instance's interfaces is at the port.
    pub(super) interface: InterfaceId,
    /// What it is called in DNS beside the name by its address.
    name: Option<DnsName>,
}

/// The guests at all ports of `vpc`, of whose machines `records` tell.
pub(super) fn guests(
    vpc: &Vpc,
    records: &BTreeMap<Id<OfPort>, InstanceRecord>,
) -> BTreeMap<Id<OfPort>, Guest> {
    let ports = vpc.ports().values();
    let told = ports.map(|port| {
        let record = records.get(&port.id).cloned();
        (port, record.unwrap_or_else(|| unknown(vpc, port)))
    });
    let told: Vec<(&Port, InstanceRecord)> = told.collect();
    let mut interfaces: BTreeMap<InstanceId, Vec<Interface>> = BTreeMap::new();
    for (port, record) in &told {
        let own = interfaces.entry(record.id).or_default();
        own.push(interface(vpc, port, record));
    }
    let guest = |(port, record): &(&Port, InstanceRecord)| {
        let guest = Guest {
            tap: port.tap(),
            lease: lease(vpc, port, record),
            instance: instance(record, interfaces[&record.id].clone()),
            interface: text(&port.id.to_string()),
            name: name(port, record),
        };
        (port.id, guest)
    };
    told.iter().map(guest).collect()
}

/// The names of `vpc` and its guests.
pub(super) fn zone(vpc: &Vpc, guests: &BTreeMap<Id<OfPort>, Guest>) -> Zone {
    let mut zone = Zone::new(&text(DOMAIN), vec![net(vpc.cidr)]);
    for guest in guests.values() {
        zone.add(guest.lease.address, guest.name.as_ref());
    }
    zone
}

/// A machine of which nothing is stored.
fn unknown(vpc: &Vpc, port: &Port) -> InstanceRecord {
    let hash: [u8; 32] = Sha256::digest(format!("{}/{}", vpc.id, port.id)).into();
    let (first, _) = hash.split_first_chunk().expect("32 bytes begin with 16");
    InstanceRecord {
        id: InstanceId::from_bytes(*first),
        device_number: 0,
        hostname: None,
        kind: text("plinth"),
        image: text("ami-00000000000000000"),
        launched: SystemTime::UNIX_EPOCH,
        user_data: None,
        ssh_keys: Vec::new(),
        options: Options::default(),
    }
}

/// What its user calls it: by its host's name, or as a machine.
fn name(port: &Port, record: &InstanceRecord) -> Option<DnsName> {
    record.hostname.clone().or_else(|| port.owner.parse().ok())
}

fn lease(vpc: &Vpc, port: &Port, record: &InstanceRecord) -> Lease {
    let subnet = &vpc.subnets()[&port.subnet];
    let hostname = record.hostname.clone();
    Lease {
        mac: Mac(port.mac.octets()),
        address: port.address,
        subnet: net(subnet.cidr),
        router: subnet.router(),
        dns: vec![subnet.name_server()],
        server: subnet.router(),
        domain: Some(text(DOMAIN)),
        hostname: hostname.or_else(|| Some(DnsName::of_address(port.address))),
        mtu: MTU,
        routes: Vec::new(),
    }
}

fn instance(record: &InstanceRecord, interfaces: Vec<Interface>) -> Instance {
    Instance {
        id: record.id,
        hostname: record.hostname.clone(),
        domain: Some(text(DOMAIN)),
        kind: record.kind.clone(),
        image: record.image.clone(),
        placement: Placement {
            region: text(REGION),
            zone: text(ZONE),
            zone_id: text(ZONE_ID),
        },
        owner: text(ACCOUNT),
        launched: record.launched,
        user_data: record.user_data.clone(),
        ssh_keys: record.ssh_keys.clone(),
        interfaces,
        block_devices: BTreeMap::new(),
        tags: BTreeMap::new(),
        options: record.options,
    }
}

fn interface(vpc: &Vpc, port: &Port, record: &InstanceRecord) -> Interface {
    let subnet = &vpc.subnets()[&port.subnet];
    let group = |name| SecurityGroup {
        id: line(vpc.groups()[name].id),
        name: line(name),
    };
    Interface {
        id: text(&port.id.to_string()),
        mac: Mac(port.mac.octets()),
        device_number: record.device_number,
        addresses: vec![port.address],
        public_address: vpc.public_address_of(&Holder::Port(port.id)),
        subnet: Subnet {
            id: line(subnet.id),
            cidr: net(subnet.cidr),
            vpc: line(vpc.id),
            vpc_cidrs: vec![net(vpc.cidr)],
        },
        security_groups: port.groups.iter().map(group).collect(),
    }
}

fn net(cidr: Cidr) -> Ipv4Net {
    let (first, prefix): (Ipv4Addr, u8) = (cidr.first(), cidr.prefix());
    Ipv4Net::new(first, prefix).expect("a range's length is at most 32 bits")
}

fn line(text: impl ToString) -> Line {
    self::text(&text.to_string())
}

/// What is written here, or was vetted as something narrower before.
fn text<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("it is one")
}

#[cfg(test)]
mod tests {
    use super::super::super::instance::tests::record;
    use super::*;
    use network::port::PortWish;

    fn vpc(owners: &[&str]) -> (Vpc, Vec<Port>) {
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        let front: network::name::Name = "front".parse().unwrap();
        let cidr = "10.0.1.0/24".parse().unwrap();
        vpc.add_subnet(front.clone(), cidr).unwrap();
        let port = |owner: &&str| {
            let owner = owner.to_string();
            let wish = PortWish {
                owner,
                ..PortWish::default()
            };
            vpc.add_port(front.clone(), wish).unwrap().clone()
        };
        let ports = owners.iter().map(port).collect();
        (vpc, ports)
    }

    #[test]
    fn a_guest_is_told_its_own_and_what_is_stored() {
        let (vpc, ports) = vpc(&["a", "b"]);
        let guests = guests(&vpc, &[(ports[0].id, record())].into());
        let guest = &guests[&ports[0].id];
        assert_eq!(guest.lease.address, ports[0].address);
        assert_eq!(guest.lease.router, Ipv4Addr::new(10, 0, 1, 1));
        assert_eq!(guest.lease.dns, [Ipv4Addr::new(10, 0, 1, 2)]);
        assert_eq!(guest.lease.mtu, 9001);
        assert_eq!(guest.instance.id, record().id);
        assert_eq!(guest.instance.user_data, record().user_data);
        assert_eq!(guest.instance.interfaces.len(), 1);
        let other = &guests[&ports[1].id].instance;
        assert_ne!(other.id, record().id);
        assert!(other.user_data.is_none() && other.ssh_keys.is_empty());
    }

    #[test]
    fn a_machine_has_all_its_interfaces_at_each_port() {
        let (vpc, ports) = vpc(&["a", "a", "b", ""]);
        let later = InstanceRecord {
            device_number: 1,
            ..record()
        };
        let records = [(ports[0].id, record()), (ports[1].id, later)];
        let guests = guests(&vpc, &records.into());
        for port in &ports[..2] {
            let instance = &guests[&port.id].instance;
            assert_eq!(instance.id, record().id);
            assert_eq!(instance.address(), Some(ports[0].address));
            let mut numbers: Vec<u8> = instance
                .interfaces
                .iter()
                .map(|one| one.device_number)
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1]);
        }
        let ids = ports[2..].iter().map(|port| guests[&port.id].instance.id);
        let ids: std::collections::BTreeSet<_> = ids.collect();
        assert_eq!(ids.len(), 2, "nobody's machine is another's");
    }

    #[test]
    fn names_are_those_of_hosts_or_machines() {
        let (vpc, ports) = vpc(&["a", "db", "not_a_name"]);
        let guests = guests(&vpc, &[(ports[0].id, record())].into());
        let zone = zone(&vpc, &guests);
        let there = |name: &str| {
            let name = format!("{name}.{DOMAIN}.").parse().unwrap();
            matches!(zone.find(&name), metadata::zone::Found::Records([_]))
        };
        for name in ["web", "db", "ip-10-0-1-4", "ip-10-0-1-6"] {
            assert!(there(name), "{name}");
        }
        assert!(!there("a"), "its host has a name");
    }
}
