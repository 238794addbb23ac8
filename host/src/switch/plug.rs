//! Plugging a machine in: a port of a switch, and the tap that is the host's end
//! of the cable. It lasts as long as the tap's descriptors are open; whoever
//! changes the switch next takes the port away then.

use std::os::fd::OwnedFd;

use network::name::Name;
use network::port::PortWish;
use network::vpc::Vpc;
use vmm::{MacAddress, Mtu, QueueCount};

use crate::error::Error;
use crate::option::net::PortOption;

use super::change::{commit, up_to_date};
use super::directory::Switches;
use super::gateway;
use super::live::MTU;

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

/// Plugs the machine `owner` in as asked.
///
/// # Errors
/// There is no such switch, subnet or group; an address is taken or there is none,
/// or a port of the host is; or the host cannot. Nothing has changed then.
pub fn plug(
    switches: &Switches,
    option: &PortOption,
    mac: Option<MacAddress>,
    queues: QueueCount,
    owner: &str,
) -> Result<Plugged, Error> {
    // What is published is nobody else's, which is looked up first and held.
    let others = match option.published.is_empty() {
        true => None,
        false => Some(gateway::others(switches, &option.switch)?),
    };
    option.published.iter().try_for_each(gateway::vet)?;
    let mut switch = switches.open(&option.switch)?;
    let live = up_to_date(&mut switch)?;
    let subnet = subnet(switch.record.vpc(), option)?;
    let wish = PortWish {
        address: option.address,
        mac: mac.map(|mac| {
            let text = mac.to_string();
            text.parse()
                .expect("what is an address to one is to the other")
        }),
        groups: option.groups.clone(),
        owner: owner.into(),
    };
    let port = commit(&mut switch, &live, |vpc| {
        let id = vpc.add_port(subnet, wish)?.id;
        vpc.set_source_check(id, option.source_check)?;
        if let Some(public) = option.public {
            vpc.associate_address(public, id)?;
        }
        for (publication, others) in option.published.iter().zip(others.iter().cycle()) {
            others.claims.check(*publication)?;
            vpc.publish(id, *publication, others.claims.uplink(vpc)?)?;
        }
        vpc.port(id).cloned()
    })?;
    let taps = match live.plug_in(switch.record.vpc(), &port, queues) {
        Ok(taps) => taps,
        Err(error) => {
            // Why is what counts. What stays is taken away by the next.
            let _ = commit(&mut switch, &live, |vpc| vpc.remove_port(port.id).map(drop));
            return Err(error);
        }
    };
    let mac = MacAddress::new(port.mac.octets());
    Ok(Plugged {
        taps,
        mac: mac.expect("a port's address is an interface's"),
        mtu: Mtu::new(MTU).expect("Ethernet has frames of that length"),
    })
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
