//! Plugging a machine in: a port of a switch, and the tap that is the host's end
//! of the cable. It lasts as long as the tap's descriptors are open; whoever
//! changes the switch next takes the port away then.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use network::bridge;
use network::id::{Id, OfPort};
use network::mac::Mac;
use network::name::Name;
use network::port::PortWish;
use network::vpc::Vpc;
use vmm::{MacAddress, Mtu, QueueCount};

use crate::error::Error;
use crate::option::net::PortOption;

use super::change::{commit, commit_bridge, up_to_date};
use super::directory::{Switch, Switches};
use super::gateway::{self, Others};
use super::instance::{self, InstanceRecord};
use super::live::MTU;
use super::peering;
use super::record::Kind;
use super::side;

/// A cable that is plugged in at the host's end.
#[derive(Debug)]
pub struct Plugged {
    /// The other end, a descriptor for each pair of queues.
    pub taps: Vec<OwnedFd>,
    /// The guest's address there.
    pub mac: MacAddress,
    /// How long its packets may be.
    pub mtu: Mtu,
}

/// Who is plugged in.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// What its user calls it.
    pub owner: &'a str,
    /// What its guest is told there, if anything is known.
    pub instance: Option<&'a InstanceRecord>,
}

impl<'a> Machine<'a> {
    /// A machine of which no more is known than what it is called.
    pub fn called(owner: &'a str) -> Self {
        let instance = None;
        Self { owner, instance }
    }
}

/// Plugs `machine` in as asked.
///
/// # Errors
/// There is no such switch, subnet or group; an address is taken or there is none,
/// or a port of the host is; something is asked for that this kind of switch has not;
/// or the host cannot. Nothing has changed then.
pub fn plug(
    switches: &Switches,
    option: &PortOption,
    mac: Option<MacAddress>,
    queues: QueueCount,
    machine: &Machine<'_>,
) -> Result<Plugged, Error> {
    // What is published is nobody else's, which is looked up first and held.
    let others = match option.published.is_empty() {
        true => None,
        false => Some(gateway::others(switches, &option.switch)?),
    };
    option.published.iter().try_for_each(gateway::vet)?;
    let mut switch = switches.open(&option.switch)?;
    vet(&switch.record.kind, option)?;
    let is_new = up_to_date(&mut switch)?;
    let mac = mac.map(|mac| {
        let text = mac.to_string();
        text.parse()
            .expect("what is an address to one is to the other")
    });
    let (id, mac, mtu) = match &switch.record.kind {
        Kind::Vpc(_) => add_to_vpc(&mut switch, option, mac, machine, others.as_ref())?,
        Kind::Bridge(_) => add_to_bridge(&mut switch, option, mac, machine)?,
    };
    let plugged = tell(switches, &switch, id, machine)
        .and_then(|()| side::plug_in(&switch.record.kind, id, queues));
    let taps = match plugged {
        Ok(taps) => taps,
        Err(error) => {
            // Why is what counts. What stays is taken away by the next.
            let _ = remove(&mut switch, id);
            return Err(error);
        }
    };
    if is_new {
        peering::make_others(switches, switch);
    }
    let mac = MacAddress::new(mac.octets());
    Ok(Plugged {
        taps,
        mac: mac.expect("a port's address is an interface's"),
        mtu: Mtu::new(mtu).expect("Ethernet has frames of that length"),
    })
}

/// Stores what the guest at the port `id` is told by its network.
fn tell(
    switches: &Switches,
    switch: &Switch,
    id: Id<OfPort>,
    machine: &Machine<'_>,
) -> Result<(), Error> {
    let Kind::Vpc(vpc) = &switch.record.kind else {
        return Ok(());
    };
    let name = &switch.name;
    let directory = switches.directory(name);
    let instance = match machine.instance {
        Some(instance) => Some(instance.clone()),
        None => known(&directory, vpc, machine.owner),
    };
    let Some(instance) = instance else {
        return Ok(());
    };
    instance::write(&directory, id, &instance).map_err(|error| {
        let what = format!("what a guest of switch '{name}' is told cannot be stored");
        Error::host(what).because(error)
    })
}

/// A new port: its id, its MAC address and its MTU.
type Added = (Id<OfPort>, Mac, u16);

/// What is stored of the machine `owner` at other ports of `vpc`, as it is told at one
/// more: its interfaces have different numbers.
fn known(directory: &Path, vpc: &Vpc, owner: &str) -> Option<InstanceRecord> {
    let ports = vpc.ports().values();
    let own = ports.filter(|port| port.owner == owner && !owner.is_empty());
    // What cannot be read is told of by the service.
    let records = own.filter_map(|port| instance::read(directory, port.id).ok().flatten());
    let records: Vec<InstanceRecord> = records.collect();
    let taken: BTreeSet<u8> = records.iter().map(|record| record.device_number).collect();
    let free = (0..=u8::MAX).find(|number| !taken.contains(number));
    records.into_iter().next().map(|record| InstanceRecord {
        device_number: free.unwrap_or(u8::MAX),
        ..record
    })
}

fn add_to_vpc(
    switch: &mut Switch,
    option: &PortOption,
    mac: Option<Mac>,
    machine: &Machine<'_>,
    others: Option<&Others>,
) -> Result<Added, Error> {
    let subnet = subnet(switch.record.vpc(&switch.name)?, option)?;
    let wish = PortWish {
        address: option.address,
        mac,
        groups: option.groups.clone(),
        owner: machine.owner.into(),
    };
    commit(switch, |vpc| {
        let port = vpc.add_port(subnet, wish)?;
        let (id, mac) = (port.id, port.mac);
        vpc.set_source_check(id, option.source_check)?;
        if let Some(public) = option.public {
            vpc.associate_address(public, id)?;
        }
        for (publication, others) in option.published.iter().zip(others.iter().cycle()) {
            others.claims.check(*publication)?;
            vpc.publish(id, *publication, others.claims.uplink(vpc)?)?;
        }
        Ok((id, mac, MTU))
    })
}

fn add_to_bridge(
    switch: &mut Switch,
    option: &PortOption,
    mac: Option<Mac>,
    machine: &Machine<'_>,
) -> Result<Added, Error> {
    let wish = bridge::port::PortWish {
        mac,
        private_vlan: option.private_vlan.clone().unwrap_or_default(),
        guard: option.guard,
        owner: machine.owner.into(),
    };
    commit_bridge(switch, |bridge| {
        let mtu = bridge.mtu;
        let port = bridge.add_port(wish)?;
        Ok((port.id, port.mac, mtu))
    })
}

fn remove(switch: &mut Switch, id: Id<OfPort>) -> Result<(), Error> {
    match &switch.record.kind {
        Kind::Vpc(_) => commit(switch, |vpc| vpc.remove_port(id).map(drop)),
        Kind::Bridge(_) => commit_bridge(switch, |bridge| bridge.remove_port(id).map(drop)),
    }
}

/// Whether nothing is asked for that only the other kind of switch has.
fn vet(kind: &Kind, option: &PortOption) -> Result<(), Error> {
    let of_vpc = [
        ("/SUBNET", option.subnet.is_some()),
        ("ip", option.address.is_some()),
        ("security-group", !option.groups.is_empty()),
        ("public", option.public.is_some()),
        ("source-check", !option.source_check),
        ("--publish", !option.published.is_empty()),
    ];
    let of_bridge = [
        ("private-vlan", option.private_vlan.is_some()),
        ("guard", option.guard.is_some()),
    ];
    let (what, own, others) = match kind {
        Kind::Vpc(_) => ("a routed network", of_vpc.as_slice(), of_bridge.as_slice()),
        Kind::Bridge(_) => ("a bridge", of_bridge.as_slice(), of_vpc.as_slice()),
    };
    let Some((wrong, _)) = others.iter().find(|(_, asked)| *asked) else {
        return Ok(());
    };
    let own: Vec<&str> = own.iter().map(|(name, _)| *name).collect();
    let switch = &option.switch;
    Err(Error::configuration(format!(
        "'{switch}' is {what}, whose ports have no '{wrong}'"
    ))
    .remedy(format!("leaving it out; there are {}", own.join(", "))))
}

/// The subnet that is asked for, or the only one.
fn subnet(vpc: &Vpc, option: &PortOption) -> Result<Name, Error> {
    if let Some(subnet) = &option.subnet {
        return Ok(subnet.clone());
    }
    let switch = &option.switch;
    let names: Vec<&Name> = vpc.subnets().keys().collect();
    match names[..] {
        [only] => Ok(only.clone()),
        [] => Err(
            Error::configuration(format!("network '{switch}' has no subnets")).remedy(format!(
                "making one: plinth subnet create {switch}/NAME --cidr {}",
                vpc.cidr
            )),
        ),
        [first, ..] => Err(
            Error::configuration(format!("network '{switch}' has several subnets"))
                .remedy(format!("naming one: --net {switch}/{first}")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::instance::tests::record;
    use super::*;

    #[test]
    fn each_interface_of_a_machine_has_a_number_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let mut vpc = Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap();
        let front: Name = "front".parse().unwrap();
        let cidr = "10.0.1.0/24".parse().unwrap();
        vpc.add_subnet(front.clone(), cidr).unwrap();
        let mut port = |owner: &str| {
            let wish = PortWish {
                owner: owner.into(),
                ..PortWish::default()
            };
            vpc.add_port(front.clone(), wish).unwrap().id
        };
        let own = [(); 3].map(|()| port("a"));
        let stranger = port("b");
        let store = |id, number| {
            let record = InstanceRecord {
                device_number: number,
                ..record()
            };
            instance::write(directory.path(), id, &record).unwrap();
        };
        let next = |owner: &str| {
            let known = known(directory.path(), &vpc, owner);
            known.map(|record| record.device_number)
        };
        assert_eq!(next("a"), None, "nothing is stored");
        store(stranger, 7);
        store(own[0], 0);
        assert_eq!(next("a"), Some(1));
        store(own[1], 1);
        assert_eq!(next("a"), Some(2));
        store(own[1], 2);
        assert_eq!(next("a"), Some(1), "the first is unplugged");
        assert_eq!(next(""), None);
    }
}
